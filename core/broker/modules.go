package broker

import (
	"context"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
)

// PutModule stores a module and gives it the name's next version; the same bytes as the newest
// version's get that version again. The module is compiled before it gets one, so that a version that
// exists also runs. created is whether there is a new version.
func (b *Broker) PutModule(ctx context.Context, name string, wasm []byte) (m *api.Module, created bool, err error) {
	compiled, err := b.engine.Compile(ctx, wasm)
	if err != nil {
		return nil, false, errcode.New(errcode.InvalidModule, "module %q: %w", name, err)
	}
	info := compiled.Info()
	compiled.Release()
	if err := b.changes.disk.need(changeRoom + int64(len(wasm))); err != nil {
		return nil, false, err
	}
	var r metadata.Result
	var refused error // by the metadata; other errors are the store's
	err = b.modules.Add(wasm, func(hash string) error {
		r, refused = b.changes.propose(ctx, metadata.AddModule{
			Name: name, SHA256: hash, Size: int64(len(wasm)), ABI: info.ABI, Fields: info.Fields.Names(),
		})
		return refused
	})
	if refused != nil {
		return nil, false, refused
	}
	if err != nil {
		return nil, false, storageError(err)
	}
	return moduleShape(r.Module), r.Created, nil
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
		return nil, errcode.New(errcode.UnknownModule, "there is no module %q; upload it first with PUT /v1/modules/%s", name, name)
	}
	return nil, errcode.New(errcode.UnknownModule, "module %q has no version %d; GET /v1/modules/%s/versions lists them", name, version, name)
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
	wasm, err := b.modules.Get(ctx, m.SHA256)
	return wasm, storageError(err)
}

// DeleteModule deletes one version, or all of them with 0. Versions in use are refused. A version that is
// pushed between the look at the versions and their deletion may leave its file behind: it is used again
// when the same bytes are pushed.
func (b *Broker) DeleteModule(ctx context.Context, name string, version int) error {
	versions := b.meta.Image().ModuleVersions(name)
	if _, err := b.changes.propose(ctx, metadata.DeleteModule{Name: name, Version: version}); err != nil {
		return err
	}
	hashes := make([]string, len(versions))
	for i, m := range versions {
		hashes[i] = m.SHA256
	}
	return storageError(b.modules.RemoveUnnamed(hashes, func(hash string) bool { return b.meta.Image().HasHash(hash) }))
}
