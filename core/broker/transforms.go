package broker

import (
	"context"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/transform"
	"github.com/wasmill/wasmill/wasm/abi"
)

// SetPipeline makes stages a topic's write pipeline. They are compiled, with their configuration,
// before the change is made: a pipeline that is refused leaves the old one in force. Requests that
// are under way finish with the version that they began with. expected is the version that it must
// have, 0 for none yet; nil takes any. created is whether there was none.
func (b *Broker) SetPipeline(ctx context.Context, topicName string, spec api.PipelineSpec, expected *uint64) (p *api.Pipeline, created bool, err error) {
	stages := storedStages(spec.Stages)
	if err := b.checkStages(ctx, abi.PlaceWrite, topicName, stages); err != nil {
		return nil, false, err
	}
	r, err := b.changes.serve(ctx, metadata.SetPipeline{Topic: topicName, Stages: stages, Expected: expected}, "")
	return pipelineShape(r.Pipeline), r.Created, err
}

// checkStages compiles stages for a topic that must exist, without putting them to use.
func (b *Broker) checkStages(ctx context.Context, place abi.Place, topicName string, stages []metadata.Stage) error {
	if _, err := b.catalog.topic(topicName); err != nil {
		return err
	}
	return b.loader.Check(ctx, transform.Spec{Name: topicName, Place: place, Stages: stages}, topicName)
}

// Pipeline returns a topic's write pipeline; NOT_FOUND if it has none.
func (b *Broker) Pipeline(_ context.Context, topicName string) (*api.Pipeline, error) {
	if _, err := b.catalog.topic(topicName); err != nil {
		return nil, err
	}
	if m := b.meta.Image().Pipeline(topicName); m != nil {
		return pipelineShape(m), nil
	}
	return nil, errcode.New(errcode.NotFound, "topic %q has no write pipeline; set one with PUT /v1/topics/%s/pipeline", topicName, topicName)
}

// DeletePipeline takes a topic's write pipeline away; expected is as in SetPipeline.
func (b *Broker) DeletePipeline(ctx context.Context, topicName string, expected *uint64) error {
	_, err := b.changes.serve(ctx, metadata.DeletePipeline{Topic: topicName, Expected: expected}, "")
	return err
}

// PutView makes or replaces a view; expected and created are as in SetPipeline.
func (b *Broker) PutView(ctx context.Context, name string, spec api.ViewSpec, expected *uint64) (v *api.View, created bool, err error) {
	stages := storedStages(spec.Stages)
	if err := b.checkStages(ctx, abi.PlaceView, spec.Topic, stages); err != nil {
		return nil, false, err
	}
	r, err := b.changes.serve(ctx, metadata.PutView{Name: name, Topic: spec.Topic, Stages: stages, Expected: expected}, "")
	return viewShape(r.View), r.Created, err
}

// Views lists the views by name.
func (b *Broker) Views(context.Context) ([]api.View, error) {
	return shapes(b.meta.Image().Views(), viewShape), nil
}

// View describes a view.
func (b *Broker) View(_ context.Context, name string) (*api.View, error) {
	if v := b.meta.Image().View(name); v != nil {
		return viewShape(v), nil
	}
	return nil, errcode.New(errcode.UnknownView, "there is no view %q; GET /v1/views lists them", name)
}

// DeleteView deletes a view; its topic stays. expected is as in SetPipeline.
func (b *Broker) DeleteView(ctx context.Context, name string, expected *uint64) error {
	_, err := b.changes.serve(ctx, metadata.DeleteView{Name: name, Expected: expected}, "")
	return err
}
