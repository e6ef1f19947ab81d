package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/wasmill/wasmill/core/api"
)

// PutModule uploads a module. The same bytes again are no new version.
func (c *Client) PutModule(ctx context.Context, name string, wasm []byte) (*Module, error) {
	r := put("push module "+name, "/v1/modules/"+seg(name))
	r.body, r.contentType = wasm, typeWasm
	out := new(Module)
	if err := c.doJSON(ctx, r, nil, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Modules lists the newest version of every module.
func (c *Client) Modules(ctx context.Context) ([]Module, error) {
	var out api.ModuleList
	err := c.doJSON(ctx, get("list modules", "/v1/modules"), nil, &out)
	return out.Modules, err
}

// Module describes one version of a module; 0 is the newest.
func (c *Client) Module(ctx context.Context, name string, version int) (*Module, error) {
	r := get("show module "+name, "/v1/modules/"+seg(name))
	r.query = versionQuery(version)
	out := new(Module)
	if err := c.doJSON(ctx, r, nil, out); err != nil {
		return nil, err
	}
	return out, nil
}

// ModuleVersions lists a module's versions.
func (c *Client) ModuleVersions(ctx context.Context, name string) ([]Module, error) {
	var out api.ModuleVersions
	err := c.doJSON(ctx, get("list versions of module "+name, "/v1/modules/"+seg(name)+"/versions"), nil, &out)
	return out.Versions, err
}

// ModuleBytes downloads a module; version 0 is the newest.
func (c *Client) ModuleBytes(ctx context.Context, name string, version int) ([]byte, error) {
	r := get("get module "+name, "/v1/modules/"+seg(name))
	r.query, r.accept = versionQuery(version), typeWasm
	return c.raw(ctx, r)
}

// DeleteModule deletes one version of a module, or with 0 all of them.
func (c *Client) DeleteModule(ctx context.Context, name string, version int) error {
	r := del("delete module "+name, "/v1/modules/"+seg(name))
	r.query = versionQuery(version)
	return c.doJSON(ctx, r, nil, nil)
}

// DryRunModule runs a module on given records and changes nothing; version 0 is the newest.
func (c *Client) DryRunModule(ctx context.Context, name string, version int, in DryRun) (*DryRunResult, error) {
	r := post("dry-run module "+name, "/v1/modules/"+seg(name)+"/dry-run")
	r.query, r.repeatable = versionQuery(version), true
	out := new(DryRunResult)
	if err := c.doJSON(ctx, r, in, out); err != nil {
		return nil, err
	}
	return out, nil
}

func versionQuery(version int) url.Values {
	if version == 0 {
		return nil
	}
	return url.Values{"version": {strconv.Itoa(version)}}
}

// SetPipeline replaces a topic's write pipeline.
func (c *Client) SetPipeline(ctx context.Context, topic string, stages []Stage, conditions ...Condition) (*Pipeline, error) {
	out := new(Pipeline)
	r := put("set pipeline of "+topic, "/v1/topics/"+seg(topic)+"/pipeline").under(conditions)
	if err := c.doJSON(ctx, r, api.PipelineSpec{Stages: stages}, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Pipeline is a topic's write pipeline.
func (c *Client) Pipeline(ctx context.Context, topic string) (*Pipeline, error) {
	out := new(Pipeline)
	if err := c.doJSON(ctx, get("get pipeline of "+topic, "/v1/topics/"+seg(topic)+"/pipeline"), nil, out); err != nil {
		return nil, err
	}
	return out, nil
}

// DeletePipeline takes a topic's write pipeline away.
func (c *Client) DeletePipeline(ctx context.Context, topic string, conditions ...Condition) error {
	r := del("delete pipeline of "+topic, "/v1/topics/"+seg(topic)+"/pipeline").under(conditions)
	return c.doJSON(ctx, r, nil, nil)
}

// PutView makes or replaces a view of a topic.
func (c *Client) PutView(ctx context.Context, name, topic string, stages []Stage, conditions ...Condition) (*View, error) {
	out := new(View)
	r := put("set view "+name, "/v1/views/"+seg(name)).under(conditions)
	if err := c.doJSON(ctx, r, api.ViewSpec{Topic: topic, Stages: stages}, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Views lists all views.
func (c *Client) Views(ctx context.Context) ([]View, error) {
	var out api.ViewList
	err := c.doJSON(ctx, get("list views", "/v1/views"), nil, &out)
	return out.Views, err
}

// View describes one view.
func (c *Client) View(ctx context.Context, name string) (*View, error) {
	out := new(View)
	if err := c.doJSON(ctx, get("get view "+name, "/v1/views/"+seg(name)), nil, out); err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteView deletes a view; its topic stays.
func (c *Client) DeleteView(ctx context.Context, name string, conditions ...Condition) error {
	return c.doJSON(ctx, del("delete view "+name, "/v1/views/"+seg(name)).under(conditions), nil, nil)
}

// PutDerivation makes or replaces a derivation.
func (c *Client) PutDerivation(ctx context.Context, name string, spec DerivationSpec, conditions ...Condition) (*Derivation, error) {
	out := new(Derivation)
	r := put("set derivation "+name, "/v1/derivations/"+seg(name)).under(conditions)
	if err := c.doJSON(ctx, r, spec, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Derivations lists all derivations.
func (c *Client) Derivations(ctx context.Context) ([]Derivation, error) {
	var out api.DerivationList
	err := c.doJSON(ctx, get("list derivations", "/v1/derivations"), nil, &out)
	return out.Derivations, err
}

// Derivation describes one derivation and how far it has come.
func (c *Client) Derivation(ctx context.Context, name string) (*Derivation, error) {
	out := new(Derivation)
	if err := c.doJSON(ctx, get("get derivation "+name, "/v1/derivations/"+seg(name)), nil, out); err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteDerivation stops and deletes a derivation; what it wrote stays.
func (c *Client) DeleteDerivation(ctx context.Context, name string, conditions ...Condition) error {
	return c.doJSON(ctx, del("delete derivation "+name, "/v1/derivations/"+seg(name)).under(conditions), nil, nil)
}
