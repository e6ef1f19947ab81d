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
// are under way finish with the version that they began with.
func (b *Broker) SetPipeline(ctx context.Context, topicName string, spec api.PipelineSpec) (*api.Pipeline, error) {
	stages := storedStages(spec.Stages)
	if err := b.checkStages(ctx, abi.PlaceWrite, topicName, stages); err != nil {
		return nil, err
	}
	r, err := b.propose(ctx, metadata.SetPipeline{Topic: topicName, Stages: stages}, "")
	return pipelineShape(r.Pipeline), err
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
	return nil, errcode.New(errcode.NotFound, "topic %q has no write pipeline; set one with `wasmill pipeline set %s`", topicName, topicName)
}

// DeletePipeline takes a topic's write pipeline away.
func (b *Broker) DeletePipeline(ctx context.Context, topicName string) error {
	_, err := b.propose(ctx, metadata.DeletePipeline{Topic: topicName}, "")
	return err
}

// PutView makes or replaces a view.
func (b *Broker) PutView(ctx context.Context, name string, spec api.ViewSpec) (*api.View, error) {
	stages := storedStages(spec.Stages)
	if err := b.checkStages(ctx, abi.PlaceView, spec.Topic, stages); err != nil {
		return nil, err
	}
	r, err := b.propose(ctx, metadata.PutView{Name: name, Topic: spec.Topic, Stages: stages}, "")
	return viewShape(r.View), err
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
	return nil, errcode.New(errcode.UnknownView, "there is no view %q; `wasmill view list` shows them", name)
}

// DeleteView deletes a view; its topic stays.
func (b *Broker) DeleteView(ctx context.Context, name string) error {
	_, err := b.propose(ctx, metadata.DeleteView{Name: name}, "")
	return err
}
