package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
)

var _ Broker = (*model)(nil)

func (m *model) PutModule(_ context.Context, name string, wasm []byte) (*api.Module, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !bytes.HasPrefix(wasm, []byte("\x00asm")) {
		return nil, errcode.New(errcode.InvalidModule, "the bytes do not begin with the magic number of WebAssembly")
	}
	sum := sha256.Sum256(wasm)
	versions := m.modules[name]
	if n := len(versions); n > 0 && versions[n-1].SHA256 == hex.EncodeToString(sum[:]) {
		return &versions[n-1].Module, nil
	}
	v := modelModule{wasm: slices.Clone(wasm), Module: api.Module{
		Name: name, Version: len(versions) + 1, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(wasm)),
		ABI: "wasmill-v1", Fields: []string{"key"}, CreatedAt: modelTime,
	}}
	m.modules[name] = append(versions, v)
	return &v.Module, nil
}

func (m *model) module(name string, version int) (*modelModule, error) {
	versions := m.modules[name]
	if version == 0 {
		version = len(versions)
	}
	if version < 1 || version > len(versions) {
		return nil, errcode.New(errcode.UnknownModule, "there is no module %s@%d", name, version)
	}
	return &versions[version-1], nil
}

func (m *model) Modules(context.Context) ([]api.Module, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.Module
	for _, versions := range m.modules {
		out = append(out, versions[len(versions)-1].Module)
	}
	return out, nil
}

func (m *model) Module(_ context.Context, name string, version int) (*api.Module, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.module(name, version)
	if err != nil {
		return nil, err
	}
	return &v.Module, nil
}

func (m *model) ModuleVersions(_ context.Context, name string) ([]api.Module, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.module(name, 0); err != nil {
		return nil, err
	}
	var out []api.Module
	for _, v := range m.modules[name] {
		out = append(out, v.Module)
	}
	return out, nil
}

func (m *model) ModuleBytes(_ context.Context, name string, version int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.module(name, version)
	if err != nil {
		return nil, err
	}
	return v.wasm, nil
}

func (m *model) DeleteModule(_ context.Context, name string, version int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.module(name, version); err != nil {
		return err
	}
	delete(m.modules, name)
	return nil
}

// DryRun keeps records with a key and rejects the others.
func (m *model) DryRun(_ context.Context, name string, version int, req broker.DryRunRequest) (*broker.DryRunResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.module(name, version); err != nil {
		return nil, err
	}
	out := &broker.DryRunResult{Module: name + "@1", Elapsed: 1}
	for i, r := range req.Records {
		v := broker.DryRunVerdict{Index: i, Verdict: "kept", Outputs: []broker.DryRunOutput{{Topic: req.Topic, Partition: req.Partition, Record: r}}}
		if r.Key == nil {
			v = broker.DryRunVerdict{Index: i, Verdict: "rejected", Code: 42, Message: "no key"}
		}
		out.Verdicts = append(out.Verdicts, v)
	}
	return out, nil
}

func (m *model) SetPipeline(_ context.Context, topic string, spec api.PipelineSpec) (*api.Pipeline, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.topics[topic] == nil {
		return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %s", topic)
	}
	if len(spec.Stages) == 0 {
		return nil, errcode.New(errcode.InvalidPipeline, "a pipeline needs a stage")
	}
	p := &api.Pipeline{Topic: topic, Version: 1, Stages: spec.Stages, UpdatedAt: modelTime}
	if old := m.pipelines[topic]; old != nil {
		p.Version = old.Version + 1
	}
	m.pipelines[topic] = p
	return p, nil
}

func (m *model) Pipeline(_ context.Context, topic string) (*api.Pipeline, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.pipelines[topic]; p != nil {
		return p, nil
	}
	return nil, errcode.New(errcode.NotFound, "topic %s has no write pipeline", topic)
}

func (m *model) DeletePipeline(_ context.Context, topic string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pipelines, topic)
	return nil
}

func (m *model) PutView(_ context.Context, name string, spec api.ViewSpec) (*api.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &api.View{Name: name, Topic: spec.Topic, Version: 1, Stages: spec.Stages, UpdatedAt: modelTime}
	if old := m.views[name]; old != nil {
		v.Version = old.Version + 1
	}
	m.views[name] = v
	return v, nil
}

func (m *model) Views(context.Context) ([]api.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.View
	for _, v := range m.views {
		out = append(out, *v)
	}
	return out, nil
}

func (m *model) View(_ context.Context, name string) (*api.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.views[name]; v != nil {
		return v, nil
	}
	return nil, errcode.New(errcode.UnknownView, "there is no view %s", name)
}

func (m *model) DeleteView(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.views[name] == nil {
		return errcode.New(errcode.UnknownView, "there is no view %s", name)
	}
	delete(m.views, name)
	return nil
}

func (m *model) PutDerivation(_ context.Context, name string, spec api.DerivationSpec) (*api.Derivation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := &api.Derivation{
		ID: 1, Name: name, Topic: spec.Topic, Output: spec.Output, StartFrom: spec.StartFrom, Version: 1,
		Stages: spec.Stages, UpdatedAt: modelTime, Progress: []api.DerivationProgress{{NextOffset: 0}},
	}
	if old := m.derivations[name]; old != nil {
		d.Version = old.Version + 1
	}
	m.derivations[name] = d
	return d, nil
}

func (m *model) Derivations(context.Context) ([]api.Derivation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.Derivation
	for _, d := range m.derivations {
		out = append(out, *d)
	}
	return out, nil
}

func (m *model) Derivation(_ context.Context, name string) (*api.Derivation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.derivations[name]; d != nil {
		return d, nil
	}
	return nil, errcode.New(errcode.UnknownDerivation, "there is no derivation %s", name)
}

func (m *model) DeleteDerivation(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.derivations, name)
	return nil
}
