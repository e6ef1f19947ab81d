package client

import (
	"context"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
)

// Cluster describes the cluster.
func (c *Client) Cluster(ctx context.Context) (*Cluster, error) {
	out := new(Cluster)
	if err := c.doJSON(ctx, get("describe cluster", "/v1/cluster"), nil, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Brokers lists the cluster's brokers.
func (c *Client) Brokers(ctx context.Context) ([]Broker, error) {
	var out api.BrokerList
	err := c.doJSON(ctx, get("list brokers", "/v1/brokers"), nil, &out)
	return out.Brokers, err
}

// Healthy fails when the server's process does not answer.
func (c *Client) Healthy(ctx context.Context) error {
	return c.probe(ctx, "/healthz")
}

// Ready fails while the server does not take requests. It is asked once.
func (c *Client) Ready(ctx context.Context) error {
	return c.probe(ctx, "/readyz")
}

func (c *Client) probe(ctx context.Context, path string) error {
	r := get("probe "+path, path)
	r.once = true
	return c.doJSON(ctx, r, nil, nil)
}

// Metrics is the server's state in Prometheus' text form.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, get("get metrics", "/metrics"))
}

// OpenAPI is the description of the HTTP API.
func (c *Client) OpenAPI(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, get("get API description", "/openapi.json"))
}

func (c *Client) raw(ctx context.Context, r call) ([]byte, error) {
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)
	if err := c.do(ctx, r, resp); err != nil {
		return nil, err
	}
	return append([]byte(nil), resp.Body()...), nil
}

// AllocateProducerID asks for an id that no one else has.
func (c *Client) AllocateProducerID(ctx context.Context) (ProducerID, error) {
	r := post("allocate producer id", "/v1/producers")
	r.repeatable = true // an id that got lost on the way costs nothing
	var out ProducerID
	err := c.doJSON(ctx, r, nil, &out)
	return out, err
}
