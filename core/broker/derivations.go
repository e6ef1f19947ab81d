package broker

import (
	"context"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/wasm/abi"
)

// PutDerivation makes a derivation or changes its stages; expected and created are as in SetPipeline.
func (b *Broker) PutDerivation(ctx context.Context, name string, spec api.DerivationSpec, expected *uint64) (d *api.Derivation, created bool, err error) {
	stages := storedStages(spec.Stages)
	if err := b.checkStages(ctx, abi.PlaceDerivation, spec.Topic, stages); err != nil {
		return nil, false, err
	}
	r, err := b.changes.serve(ctx, metadata.PutDerivation{
		Name: name, Topic: spec.Topic, Output: spec.Output, StartFrom: spec.StartFrom, Stages: stages,
		Expected: expected,
	}, "")
	if err != nil {
		return nil, false, err
	}
	d, err = b.Derivation(ctx, name)
	return d, r.Created, err
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
		return nil, errcode.New(errcode.UnknownDerivation, "there is no derivation %q; GET /v1/derivations lists them", name)
	}
	info := b.describeDerivation(m)
	return &info, nil
}

// DeleteDerivation stops and forgets a derivation; what it wrote stays. expected is as in SetPipeline.
func (b *Broker) DeleteDerivation(ctx context.Context, name string, expected *uint64) error {
	_, err := b.changes.serve(ctx, metadata.DeleteDerivation{Name: name, Expected: expected}, "")
	return err
}

func (b *Broker) describeDerivation(m *metadata.Derivation) api.Derivation {
	info := derivationShape(m)
	info.Progress = []api.DerivationProgress{}
	progress, err := b.derivations.Progress(m.ID)
	if err != nil {
		info.Progress = append(info.Progress, api.DerivationProgress{Partition: -1, Error: err.Error()})
	}
	for _, p := range progress {
		info.Progress = append(info.Progress, api.DerivationProgress{
			Partition: p.Partition, NextOffset: p.NextOffset, Lag: p.Lag, Error: p.Err,
		})
	}
	return info
}
