package client

import (
	"context"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
)

// CreateTopic makes a topic; errcode.TopicAlreadyExists when the name is taken.
func (c *Client) CreateTopic(ctx context.Context, spec TopicSpec) (*Topic, error) {
	out := new(Topic)
	if err := c.doJSON(ctx, post("create topic "+spec.Name, "/v1/topics"), spec, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Topics lists all topics, by name.
func (c *Client) Topics(ctx context.Context) ([]Topic, error) {
	var out api.TopicList
	err := c.doJSON(ctx, get("list topics", "/v1/topics"), nil, &out)
	return out.Topics, err
}

// Topic describes one topic.
func (c *Client) Topic(ctx context.Context, name string) (*Topic, error) {
	out := new(Topic)
	if err := c.doJSON(ctx, get("describe topic "+name, "/v1/topics/"+seg(name)), nil, out); err != nil {
		return nil, err
	}
	return out, nil
}

// AlterTopic changes a topic's configuration or adds partitions.
func (c *Client) AlterTopic(ctx context.Context, name string, change TopicChange) (*Topic, error) {
	r := post("alter topic "+name, "/v1/topics/"+seg(name))
	r.method, r.repeatable = "PATCH", true // it sets values: twice is as good as once
	out := new(Topic)
	if err := c.doJSON(ctx, r, change, out); err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteTopic deletes a topic and its records.
func (c *Client) DeleteTopic(ctx context.Context, name string) error {
	return c.doJSON(ctx, del("delete topic "+name, "/v1/topics/"+seg(name)), nil, nil)
}

// PartitionCount is how many partitions a topic, or the topic behind a view, has.
func (c *Client) PartitionCount(ctx context.Context, topicOrView string) (int32, error) {
	t, err := c.Topic(ctx, topicOrView)
	if IsCode(err, errcode.UnknownTopicOrPartition) || IsCode(err, errcode.ViewReadOnly) {
		v, viewErr := c.View(ctx, topicOrView)
		if viewErr != nil {
			return 0, err // the caller asked for a topic: that error, not the view's
		}
		t, err = c.Topic(ctx, v.Topic)
	}
	if err != nil {
		return 0, err
	}
	return t.Partitions, nil
}
