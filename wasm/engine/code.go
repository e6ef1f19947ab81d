package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"

	"github.com/tetratelabs/wazero"

	"github.com/wasmill/wasmill/wasm/module"
)

// code is a compiled module and everything that was made from it. Each Module handle is a reference to it,
// and so is each open pool. Without references it is idle (see Engine.release).
type code struct {
	engine *Engine
	hash   [32]byte
	refs   int // guarded by Engine.mu

	ready chan struct{} // closed when the build is over; the fields below are set by then
	err   error
	info  module.Info

	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	cache    wazero.CompilationCache // nil without a cache directory

	// starting counts the pools that are being made; Add under Engine.mu while the engine is not closed.
	starting sync.WaitGroup
	// destroy frees the machine code. No instance may be left. Idempotent.
	destroy func()

	// mu covers pools, and the references of each pool in it: Pool.refs. It is taken after Engine.mu and
	// before Pool.mu.
	mu    sync.Mutex
	pools map[poolKey]*Pool
}

func newCode(e *Engine, hash [32]byte) *code {
	c := &code{engine: e, hash: hash, ready: make(chan struct{}), pools: map[poolKey]*Pool{}}
	c.destroy = sync.OnceFunc(func() {
		if err := c.free(); err != nil {
			e.opts.Logger.Error("a module's machine code was not freed", "hash", hex.EncodeToString(hash[:6]), "error", err)
		}
	})
	return c
}

// failed reports whether the build has ended with an error.
func (c *code) failed() bool {
	select {
	case <-c.ready:
		return c.err != nil
	default:
		return false
	}
}

// shutdown closes all pools, also those with references, and waits until no call runs.
func (c *code) shutdown(ctx context.Context) error {
	select {
	case <-c.ready: // looked at before ctx: pools are closed even when ctx has ended already
	default:
		select {
		case <-c.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.starting.Wait()
	c.mu.Lock()
	pools := make([]*Pool, 0, len(c.pools))
	for _, p := range c.pools {
		pools = append(pools, p)
	}
	c.mu.Unlock()
	for _, p := range pools {
		p.shutdown()
	}
	for _, p := range pools {
		select {
		case <-p.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// free closes what compile made, in reverse order. The machine code of a CompiledModule that is not closed
// stays mapped until the process ends.
func (c *code) free() error {
	ctx := context.Background()
	var errs []error
	if c.compiled != nil {
		errs = append(errs, c.compiled.Close(ctx))
	}
	if c.runtime != nil {
		errs = append(errs, c.runtime.Close(ctx))
	}
	if c.cache != nil {
		errs = append(errs, c.cache.Close(ctx))
	}
	c.compiled, c.runtime, c.cache = nil, nil, nil
	return errors.Join(errs...)
}

// Module is a handle to a compiled module.
type Module struct {
	code    *code
	release func()
}

func newModule(c *code) *Module {
	return &Module{code: c, release: sync.OnceFunc(func() { c.engine.release(c) })}
}

// Info describes the module. Its fields are what the module asked for without a configuration.
func (m *Module) Info() module.Info { return m.code.info }

// Release drops the handle; pools made from it stay usable. Idempotent.
func (m *Module) Release() { m.release() }
