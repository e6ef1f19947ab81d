package broker

import (
	"context"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/wasm/abi"
)

// SetPipeline makes stages a topic's write pipeline. They are compiled, with their configuration,
// before the change is made: a pipeline that is refused leaves the old one in force. Requests that
// are under way finish with the version that they began with.
func (b *Broker) SetPipeline(ctx context.Context, topicName string, spec api.PipelineSpec) (*api.Pipeline, error) {
	stages := storedStages(spec.Stages)
	t, err := b.topic(topicName)
	if err != nil {
		return nil, err
	}
	if err := b.try(ctx, abi.PlaceWrite, t.name, stages); err != nil {
		return nil, err
	}
	r, err := b.propose(ctx, metadata.SetPipeline{Topic: topicName, Stages: stages})
	return pipelineShape(r.Pipeline), err
}

// try resolves and compiles stages without putting them to use.
func (b *Broker) try(ctx context.Context, place abi.Place, topicName string, stages []metadata.Stage) error {
	resolved, err := b.meta.Image().ResolveStages(place, topicName, stages)
	if err != nil {
		return err
	}
	trial, err := b.compile(ctx, topicName, 0, place, resolved)
	if err != nil {
		return err
	}
	trial.release()
	return nil
}

// Pipeline returns a topic's write pipeline; NOT_FOUND if it has none.
func (b *Broker) Pipeline(_ context.Context, topicName string) (*api.Pipeline, error) {
	if _, err := b.topic(topicName); err != nil {
		return nil, err
	}
	if m := b.meta.Image().Pipeline(topicName); m != nil {
		return pipelineShape(m), nil
	}
	return nil, errcode.New(errcode.NotFound, "topic %q has no write pipeline; set one with `wasmill pipeline set %s`", topicName, topicName)
}

// DeletePipeline takes a topic's write pipeline away.
func (b *Broker) DeletePipeline(ctx context.Context, topicName string) error {
	_, err := b.propose(ctx, metadata.DeletePipeline{Topic: topicName})
	return err
}

// PutView makes or replaces a view.
func (b *Broker) PutView(ctx context.Context, name string, spec api.ViewSpec) (*api.View, error) {
	stages := storedStages(spec.Stages)
	t, err := b.topic(spec.Topic)
	if err != nil {
		return nil, err
	}
	if err := b.try(ctx, abi.PlaceView, t.name, stages); err != nil {
		return nil, err
	}
	r, err := b.propose(ctx, metadata.PutView{Name: name, Topic: spec.Topic, Stages: stages})
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
	_, err := b.propose(ctx, metadata.DeleteView{Name: name})
	return err
}

// PutDerivation makes a derivation or changes its stages.
func (b *Broker) PutDerivation(ctx context.Context, name string, spec api.DerivationSpec) (*api.Derivation, error) {
	stages := storedStages(spec.Stages)
	if _, err := b.topic(spec.Topic); err != nil {
		return nil, err
	}
	if err := b.try(ctx, abi.PlaceDerivation, spec.Topic, stages); err != nil {
		return nil, err
	}
	_, err := b.propose(ctx, metadata.PutDerivation{
		Name: name, Topic: spec.Topic, Output: spec.Output, StartFrom: spec.StartFrom, Stages: stages,
	})
	if err != nil {
		return nil, err
	}
	return b.Derivation(ctx, name)
}

// Derivations lists the derivations by name with their progress.
func (b *Broker) Derivations(context.Context) ([]api.Derivation, error) {
	infos := []api.Derivation{}
	for _, m := range b.meta.Image().Derivations() {
		infos = append(infos, b.describeDerivation(m))
	}
	return infos, nil
}

// Derivation describes a derivation and its progress.
func (b *Broker) Derivation(_ context.Context, name string) (*api.Derivation, error) {
	m := b.meta.Image().Derivation(name)
	if m == nil {
		return nil, errcode.New(errcode.UnknownDerivation, "there is no derivation %q; `wasmill derive list` shows them", name)
	}
	info := b.describeDerivation(m)
	return &info, nil
}

// DeleteDerivation stops and forgets a derivation; what it wrote stays.
func (b *Broker) DeleteDerivation(ctx context.Context, name string) error {
	_, err := b.propose(ctx, metadata.DeleteDerivation{Name: name})
	return err
}
