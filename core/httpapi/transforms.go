package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
)

func (c *call) putPipeline() error {
	topic := c.param(0)
	var spec api.PipelineSpec
	if err := c.decode(&spec); err != nil {
		return err
	}
	expected, err := c.expected()
	if err != nil {
		return err
	}
	p, created, err := c.s.broker.SetPipeline(c.ctx, topic, spec, expected)
	if err != nil {
		return err
	}
	return c.answerVersion(putStatus(created), p.Version, p)
}

func (c *call) getPipeline() error {
	p, err := c.s.broker.Pipeline(c.ctx, c.param(0))
	if err != nil {
		return err
	}
	return c.answerVersion(fasthttp.StatusOK, p.Version, p)
}

func (c *call) deletePipeline() error {
	expected, err := c.expected()
	if err != nil {
		return err
	}
	if err := c.s.broker.DeletePipeline(c.ctx, c.param(0), expected); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) putView() error {
	name := c.param(0)
	var spec api.ViewSpec
	if err := c.decode(&spec); err != nil {
		return err
	}
	expected, err := c.expected()
	if err != nil {
		return err
	}
	v, created, err := c.s.broker.PutView(c.ctx, name, spec, expected)
	if err != nil {
		return err
	}
	return c.answerVersion(putStatus(created), v.Version, v)
}

func (c *call) listViews() error {
	views, err := c.s.broker.Views(c.ctx)
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, api.ViewList{Views: orEmpty(views)})
}

func (c *call) getView() error {
	v, err := c.s.broker.View(c.ctx, c.param(0))
	if err != nil {
		return err
	}
	return c.answerVersion(fasthttp.StatusOK, v.Version, v)
}

func (c *call) deleteView() error {
	expected, err := c.expected()
	if err != nil {
		return err
	}
	if err := c.s.broker.DeleteView(c.ctx, c.param(0), expected); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) putDerivation() error {
	name := c.param(0)
	var spec api.DerivationSpec
	if err := c.decode(&spec); err != nil {
		return err
	}
	expected, err := c.expected()
	if err != nil {
		return err
	}
	d, created, err := c.s.broker.PutDerivation(c.ctx, name, spec, expected)
	if err != nil {
		return err
	}
	return c.answerVersion(putStatus(created), d.Version, d)
}

func (c *call) listDerivations() error {
	derivations, err := c.s.broker.Derivations(c.ctx)
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, api.DerivationList{Derivations: orEmpty(derivations)})
}

func (c *call) getDerivation() error {
	d, err := c.s.broker.Derivation(c.ctx, c.param(0))
	if err != nil {
		return err
	}
	return c.answerVersion(fasthttp.StatusOK, d.Version, d)
}

func (c *call) deleteDerivation() error {
	expected, err := c.expected()
	if err != nil {
		return err
	}
	if err := c.s.broker.DeleteDerivation(c.ctx, c.param(0), expected); err != nil {
		return err
	}
	return c.noContent()
}
