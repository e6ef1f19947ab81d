package apitest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
)

// PutModule stores a module; whatever begins with WebAssembly's magic number is one.
func (m *Fake) PutModule(_ context.Context, name string, wasm []byte) (*api.Module, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !bytes.HasPrefix(wasm, []byte("\x00asm")) {
		return nil, false, errcode.New(errcode.InvalidModule, "the bytes do not begin with the magic number of WebAssembly")
	}
	sum := sha256.Sum256(wasm)
	hash := hex.EncodeToString(sum[:])
	if newest, err := m.module(name, 0); err == nil && newest.SHA256 == hash {
		return &newest.Module, false, nil
	}
	v := fakeModule{wasm: slices.Clone(wasm), Module: api.Module{
		Name: name, Version: len(m.modules[name]) + 1, SHA256: hash, Size: int64(len(wasm)),
		ABI: "wasmill-v1", Fields: []string{"key"}, CreatedAt: Time,
	}}
	m.modules[name] = append(m.modules[name], v)
	return &v.Module, true, nil
}

// there are the versions of a module that were not deleted.
func (m *Fake) there(name string) (versions []*fakeModule) {
	for i := range m.modules[name] {
		if v := &m.modules[name][i]; v.wasm != nil {
			versions = append(versions, v)
		}
	}
	return versions
}

func (m *Fake) module(name string, version int) (*fakeModule, error) {
	versions := m.there(name)
	for i := len(versions) - 1; i >= 0; i-- {
		if version == 0 || versions[i].Version == version {
			return versions[i], nil
		}
	}
	return nil, errcode.New(errcode.UnknownModule, "there is no module %s@%d", name, version)
}

// Modules lists the newest versions.
func (m *Fake) Modules(context.Context) ([]api.Module, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.Module
	for _, name := range slices.Sorted(maps.Keys(m.modules)) {
		if v, err := m.module(name, 0); err == nil {
			out = append(out, v.Module)
		}
	}
	return out, nil
}

// Module describes one version.
func (m *Fake) Module(_ context.Context, name string, version int) (*api.Module, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.module(name, version)
	if err != nil {
		return nil, err
	}
	return &v.Module, nil
}

// ModuleVersions lists a module's versions.
func (m *Fake) ModuleVersions(_ context.Context, name string) ([]api.Module, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.module(name, 0); err != nil {
		return nil, err
	}
	var out []api.Module
	for _, v := range m.there(name) {
		out = append(out, v.Module)
	}
	return out, nil
}

// ModuleBytes returns a version's bytes.
func (m *Fake) ModuleBytes(_ context.Context, name string, version int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.module(name, version)
	if err != nil {
		return nil, err
	}
	return v.wasm, nil
}

// DeleteModule deletes one version, or all of them with 0.
func (m *Fake) DeleteModule(_ context.Context, name string, version int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.module(name, version); err != nil {
		return err
	}
	if users := m.moduleUsers(name, version); len(users) > 0 {
		return errcode.New(errcode.ModuleInUse, "module %s is named by %q", name, users)
	}
	for _, v := range m.there(name) {
		if version == 0 || v.Version == version {
			v.wasm = nil
		}
	}
	return nil
}

// DryRun keeps records with a key and rejects the others.
func (m *Fake) DryRun(_ context.Context, name string, version int, req broker.DryRunRequest) (*broker.DryRunResult, error) {
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
