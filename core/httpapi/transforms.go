package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
)

// createdAt is the status of what was put: its versions count from 1.
func createdAt(version uint64) int {
	if version == 1 {
		return fasthttp.StatusCreated
	}
	return fasthttp.StatusOK
}

func (c *call) putPipeline() error {
	topic := c.param(0)
	var spec api.PipelineSpec
	if err := c.decode(&spec); err != nil {
		return err
	}
	p, err := c.s.broker.SetPipeline(c.ctx, topic, spec)
	if err != nil {
		return err
	}
	return c.answerJSON(createdAt(p.Version), p)
}

func (c *call) getPipeline() error {
	p, err := c.s.broker.Pipeline(c.ctx, c.param(0))
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, p)
}

func (c *call) deletePipeline() error {
	if err := c.s.broker.DeletePipeline(c.ctx, c.param(0)); err != nil {
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
	v, err := c.s.broker.PutView(c.ctx, name, spec)
	if err != nil {
		return err
	}
	return c.answerJSON(createdAt(v.Version), v)
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
	return c.answerJSON(fasthttp.StatusOK, v)
}

func (c *call) deleteView() error {
	if err := c.s.broker.DeleteView(c.ctx, c.param(0)); err != nil {
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
	d, err := c.s.broker.PutDerivation(c.ctx, name, spec)
	if err != nil {
		return err
	}
	return c.answerJSON(createdAt(d.Version), d)
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
	return c.answerJSON(fasthttp.StatusOK, d)
}

func (c *call) deleteDerivation() error {
	if err := c.s.broker.DeleteDerivation(c.ctx, c.param(0)); err != nil {
		return err
	}
	return c.noContent()
}
