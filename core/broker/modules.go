package broker

import (
	"context"
	"errors"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
)

// PutModule stores a module and gives it the name's next version; the same bytes as the newest
// version's get that version again. The module is compiled before it gets one, so that a version that
// exists also runs.
func (b *Broker) PutModule(ctx context.Context, name string, wasm []byte) (*api.Module, error) {
	compiled, err := b.engine.Compile(ctx, wasm)
	if err != nil {
		return nil, errcode.New(errcode.InvalidModule, "module %q: %w", name, err)
	}
	info := compiled.Info()
	compiled.Release()
	if err := b.needRoom(changeRoom + int64(len(wasm))); err != nil {
		return nil, err
	}
	b.modules.mu.Lock()
	defer b.modules.mu.Unlock()
	hash, err := b.modules.put(wasm)
	if err != nil {
		return nil, storageError(err)
	}
	r, err := b.change(ctx, metadata.AddModule{
		Name: name, SHA256: hash, Size: int64(len(wasm)), ABI: info.ABI, Fields: info.Fields.Names(),
	})
	return moduleShape(r.Module), err
}

// Modules lists the newest version of every module.
func (b *Broker) Modules(context.Context) ([]api.Module, error) {
	return shapes(b.meta.Image().Modules(), moduleShape), nil
}

// Module describes one version; 0 is the newest.
func (b *Broker) Module(_ context.Context, name string, version int) (*api.Module, error) {
	if m := b.meta.Image().Module(name, version); m != nil {
		return moduleShape(m), nil
	}
	if version == 0 {
		return nil, errcode.New(errcode.UnknownModule, "there is no module %q; push it first (`wasmill module push %s FILE`)", name, name)
	}
	return nil, errcode.New(errcode.UnknownModule, "module %q has no version %d; `wasmill module show %s` lists them", name, version, name)
}

// ModuleVersions lists a module's versions, oldest first.
func (b *Broker) ModuleVersions(ctx context.Context, name string) ([]api.Module, error) {
	if _, err := b.Module(ctx, name, 0); err != nil {
		return nil, err
	}
	return shapes(b.meta.Image().ModuleVersions(name), moduleShape), nil
}

// ModuleBytes returns a version's bytes.
func (b *Broker) ModuleBytes(ctx context.Context, name string, version int) ([]byte, error) {
	m, err := b.Module(ctx, name, version)
	if err != nil {
		return nil, err
	}
	wasm, err := b.modules.get(m.SHA256)
	return wasm, storageError(err)
}

// DeleteModule deletes one version, or all of them with 0. Versions in use are refused.
func (b *Broker) DeleteModule(ctx context.Context, name string, version int) error {
	b.modules.mu.Lock()
	defer b.modules.mu.Unlock()
	hashes := b.meta.Image().ModuleVersions(name)
	if _, err := b.change(ctx, metadata.DeleteModule{Name: name, Version: version}); err != nil {
		return err
	}
	var errs []error
	for _, m := range hashes {
		if !b.meta.Image().HasHash(m.SHA256) {
			errs = append(errs, b.modules.remove(m.SHA256))
		}
	}
	return storageError(errors.Join(errs...))
}

// Get reads a module's bytes by hash, for the pipelines that are compiled from it.
func (s *moduleStore) Get(_ context.Context, hash string) ([]byte, error) { return s.get(hash) }
