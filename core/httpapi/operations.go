package httpapi

import (
	_ "embed"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
)

// openAPI describes every call; a test holds it against the routes and against real answers.
//
//go:embed openapi.json
var openAPI []byte

func (c *call) cluster() error {
	info, err := c.s.broker.Cluster(c.ctx)
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, info)
}

func (c *call) brokers() error {
	brokers, err := c.s.broker.Brokers(c.ctx)
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, api.BrokerList{Brokers: orEmpty(brokers)})
}

// newProducer hands out an id for an idempotent producer.
func (c *call) newProducer() error {
	id, err := c.s.broker.AllocateProducerID(c.ctx)
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, api.ProducerID{ID: id})
}

// health answers that the process runs; it does not look at the broker.
func (c *call) health() error {
	return c.answerJSON(fasthttp.StatusOK, api.Status{Status: "ok"})
}

// ready answers whether requests should be sent here.
func (c *call) ready() error {
	if c.s.draining.Load() {
		return errcode.New(errcode.ShuttingDown, "the broker is shutting down")
	}
	if err := c.s.broker.Ready(); err != nil {
		e := errcode.From(err)
		if e.HTTPStatus() < fasthttp.StatusInternalServerError || e.Code == errcode.Unknown {
			e = errcode.New(errcode.ShuttingDown, "the broker is not ready: %w", err)
		}
		return e
	}
	return c.answerJSON(fasthttp.StatusOK, api.Status{Status: "ready"})
}

// metrics lets the handler from the options answer.
func (c *call) metrics() error {
	if c.s.opts.Metrics == nil {
		return errcode.New(errcode.NotFound, "this broker serves no metrics")
	}
	fasthttpadaptor.NewFastHTTPHandler(c.s.opts.Metrics)(c.http)
	return nil
}

func (c *call) openAPI() error {
	c.answerRaw(fasthttp.StatusOK, mediaJSON, openAPI)
	return nil
}
