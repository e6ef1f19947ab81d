// Package engine runs transforms. It takes an upload through the steps of build.go, keeps one compiled
// copy of every module that is in use, and lends instances of it to one call at a time.
//
// No module is trusted: each has a WebAssembly runtime of its own, without files, network or access to
// another module, and an instance whose call failed is discarded.
//
// A module that loops occupies its core until it returns: compiled code has no preemption point until the
// meter step of build.go exists. wazero's WithCloseOnContextDone is not used: it makes tight loops 8 to 20
// times slower and does not stop recursion.
package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/wasmill/wasmill/raftstore/vfs"
	"github.com/wasmill/wasmill/wasm/abi"
)

// ErrClosed means that the engine or the pool was closed before or during the call.
var ErrClosed = errors.New("wasm engine is closed")

// Options configure an Engine. The zero value is usable.
type Options struct {
	CacheDir           string // compiled code is kept here, mode 0700; empty: not at all
	FS                 vfs.FS // of CacheDir; default the operating system's, on any other nothing is cached
	MaxMemoryBytes     int64  // the most that a stage may ask for per instance; default 256 MiB
	DefaultMemoryBytes int64  // what a stage gets that asks for nothing; default 64 MiB
	MaxInstances       int    // per pool; default GOMAXPROCS
	IdleModules        int    // kept compiled although none uses them; default 8, negative: none
	AllowInterpreter   bool   // run about 47 times slower where the compiler is not supported, rather than refuse
	Logger             *slog.Logger
	Observer           Observer
	Now                func() time.Time // wall clock
}

func (o Options) withDefaults() Options {
	o.MaxMemoryBytes = cmp.Or(o.MaxMemoryBytes, 256<<20)
	o.DefaultMemoryBytes = min(cmp.Or(o.DefaultMemoryBytes, abi.DefaultMemoryBytes), o.MaxMemoryBytes)
	o.MaxInstances = cmp.Or(o.MaxInstances, runtime.GOMAXPROCS(0))
	o.IdleModules = max(cmp.Or(o.IdleModules, 8), 0)
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = NoObserver{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Engine compiles modules and owns everything that runs them. Safe for concurrent use.
type Engine struct {
	opts        Options
	interpreter bool
	compiling   chan struct{} // one token per compilation under way: each takes much memory and a core

	// mu covers the fields below and the references of every code: code.refs. Nothing is compiled, started
	// or freed under it. The order is Engine.mu, code.mu, Pool.mu.
	mu     sync.Mutex
	closed bool
	codes  map[[sha256.Size]byte]*code // in use or idle
	idle   []*code                     // without references, the longest idle first
}

// New makes an engine. It refuses to run where wazero's compiler is not supported, unless the options
// allow the interpreter.
func New(opts Options) (*Engine, error) {
	opts = opts.withDefaults()
	if opts.MaxMemoryBytes < abi.PageSize || opts.MaxMemoryBytes > abi.MaxMemoryBytes {
		return nil, fmt.Errorf("wasm engine: memory limit of %d bytes is not within %d and %d", opts.MaxMemoryBytes, abi.PageSize, abi.MaxMemoryBytes)
	}
	e := &Engine{opts: opts, compiling: make(chan struct{}, 2), codes: map[[sha256.Size]byte]*code{}}
	if err := compilerSupported(); err != nil {
		if !opts.AllowInterpreter {
			return nil, fmt.Errorf("wasm engine: %w; the interpreter is about 47 times slower and must be allowed explicitly", err)
		}
		opts.Logger.Warn("transforms run in the interpreter", "reason", err)
		e.interpreter = true
	}
	if opts.CacheDir != "" {
		usable, err := prepareCache(opts.FS, opts.CacheDir)
		if err != nil {
			return nil, fmt.Errorf("wasm engine: %w", err)
		}
		if !usable {
			opts.Logger.Info("compiled code is not cached: the cache is not on a file system of the operating system", "dir", opts.CacheDir)
			e.opts.CacheDir = ""
		}
	}
	return e, nil
}

// Observer is what the engine reports to.
func (e *Engine) Observer() Observer { return e.opts.Observer }

// Compile takes wasm through all steps. If the same bytes are being compiled already it waits for that, and
// if they are compiled it returns at once. The caller owns the handle and must release it. wasm may be
// reused after the return.
func (e *Engine) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	hash := sha256.Sum256(wasm)
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	c, found := e.codes[hash]
	if !found {
		c = newCode(e, hash)
		e.codes[hash] = c
	}
	if i := slices.Index(e.idle, c); i >= 0 {
		e.idle = slices.Delete(e.idle, i, i+1)
	}
	c.refs++
	e.mu.Unlock()

	if !found {
		c.err = c.build(ctx, wasm)
		close(c.ready)
	}
	select {
	case <-c.ready:
	case <-ctx.Done():
		e.release(c)
		return nil, fmt.Errorf("compile module %x: %w", hash[:6], ctx.Err())
	}
	if c.err != nil {
		e.release(c)
		return nil, c.err
	}
	return newModule(c), nil
}

// release drops one reference. Code without references stays idle for a while: a module that was pushed is
// soon named by a pipeline, and one that a fetch named is named by the next fetch. A failed build is
// removed at once, so that the next upload is built again.
func (e *Engine) release(c *code) {
	e.mu.Lock()
	c.refs--
	known := e.codes[c.hash] == c
	var unused *code
	switch {
	case known && c.failed():
		delete(e.codes, c.hash)
	case c.refs > 0:
	case !known: // the engine was closed meanwhile, or the build failed
		unused = c
	default:
		e.idle = append(e.idle, c)
		if len(e.idle) > e.opts.IdleModules {
			unused = e.idle[0]
			e.idle = slices.Delete(e.idle, 0, 1)
			delete(e.codes, unused.hash)
		}
	}
	e.mu.Unlock()
	if unused != nil {
		unused.destroy()
	}
}

// Close refuses new work, waits for calls under way until ctx ends, and frees every module, pool and
// instance. Idempotent.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	codes := make([]*code, 0, len(e.codes))
	for _, c := range e.codes {
		c.refs++
		codes = append(codes, c)
	}
	clear(e.codes)
	e.idle = nil
	e.mu.Unlock()
	var errs []error
	for _, c := range codes {
		if err := c.shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close module %x: %w", c.hash[:6], err))
			e.release(c) // a call still runs: closing the last pool frees it
			continue
		}
		c.destroy()
	}
	return errors.Join(errs...)
}
