package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
)

func (c *call) createTopic() error {
	var spec api.TopicSpec
	if err := c.decode(&spec); err != nil {
		return err
	}
	t, err := c.s.broker.CreateTopic(c.ctx, spec)
	if err != nil {
		return err
	}
	c.http.Response.Header.Set(fasthttp.HeaderLocation, "/v1/topics/"+t.Name)
	return c.answerJSON(fasthttp.StatusCreated, t)
}

func (c *call) listTopics() error {
	topics, err := c.s.broker.Topics(c.ctx)
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, api.TopicList{Topics: orEmpty(topics)})
}

func (c *call) getTopic() error {
	t, err := c.s.broker.Topic(c.ctx, c.param(0))
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, t)
}

func (c *call) alterTopic() error {
	name := c.param(0)
	var change api.TopicChange
	if err := c.decode(&change); err != nil {
		return err
	}
	t, err := c.s.broker.AlterTopic(c.ctx, name, change)
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, t)
}

func (c *call) deleteTopic() error {
	if err := c.s.broker.DeleteTopic(c.ctx, c.param(0)); err != nil {
		return err
	}
	return c.noContent()
}

// orEmpty makes an empty list appear as [] rather than null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
