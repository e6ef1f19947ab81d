package engine

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wasmill/wasmill/wasm/abi"
)

// Limits bound one stage. Zero values mean the engine's defaults.
type Limits struct {
	MemoryBytes int64      // linear memory of one instance
	Answer      abi.Limits // what one call may give back
}

// PoolOptions say what a pool is for. Pools of the same module with equal options are one.
type PoolOptions struct {
	Label  string // for errors, logs and metrics: "redact@2"
	Config []byte // a JSON object, or empty
	Limits Limits
}

type poolKey struct {
	label, config string
	limits        Limits
}

// Pool lends instances of one module with one configuration. Safe for concurrent use.
type Pool struct {
	code    *code
	key     poolKey
	sandbox *sandbox
	limits  abi.Limits
	mask    abi.Mask
	slots   chan struct{} // one token per instance that is in use
	drained chan struct{} // closed when the pool is closed and no instance is left
	refs    int           // guarded by code.mu

	// shutdown refuses new calls and frees what is idle; drained is closed when the last call has ended.
	// Idempotent.
	shutdown func()

	// mu covers the fields below: whether the pool is closed, and which instances are idle or in use. No
	// instance is started, run or closed under it.
	mu     sync.Mutex
	closed bool
	inUse  int
	idle   []*instance // the last one used is used first: its memory is likely in the CPU cache
}

// Pool returns the pool for opts. It starts the first instance, so that a configuration that the module
// refuses is an error here. The caller owns one reference and must Close it exactly once.
func (m *Module) Pool(opts PoolOptions) (*Pool, error) {
	c := m.code
	raw, values, err := parseConfig(opts.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", opts.Label, err)
	}
	limits := opts.Limits
	limits.Answer = limits.Answer.WithDefaults()
	limits.MemoryBytes = cmp.Or(limits.MemoryBytes, c.engine.opts.DefaultMemoryBytes)
	if most := c.engine.opts.MaxMemoryBytes; limits.MemoryBytes < abi.PageSize || limits.MemoryBytes > most {
		return nil, fmt.Errorf("%s: memory limit of %d bytes is not within %d and %d", opts.Label, limits.MemoryBytes, abi.PageSize, most)
	}
	key := poolKey{label: opts.Label, config: string(raw), limits: limits}
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.starting.Done()
	if p := c.join(key); p != nil {
		return p, nil
	}
	sandbox := newSandbox(c.engine, c.engine.opts.Observer, opts.Label, raw, limits.MemoryBytes)
	sandbox.config = values
	first, err := c.start(sandbox)
	if err != nil {
		return nil, err
	}
	p := &Pool{
		code: c, key: key, sandbox: sandbox, limits: limits.Answer, mask: first.mask,
		slots: make(chan struct{}, c.engine.opts.MaxInstances), drained: make(chan struct{}), idle: []*instance{first},
	}
	p.shutdown = sync.OnceFunc(p.stop)
	return c.adopt(p)
}

// enter keeps the engine's Close from freeing the code under a pool that is being made.
func (c *code) enter() error {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	if c.engine.closed {
		return ErrClosed
	}
	c.starting.Add(1)
	return nil
}

// join takes a reference to an existing pool; nil when there is none.
func (c *code) join(key poolKey) *Pool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pools[key]
	if p != nil {
		p.refs++
	}
	return p
}

// adopt enters p into the table of pools. If another goroutine has entered an equal one meanwhile, p is
// closed and that one is returned; if the engine was closed, p is closed.
func (c *code) adopt(p *Pool) (*Pool, error) {
	e := c.engine
	e.mu.Lock()
	c.mu.Lock()
	other, closed := c.pools[p.key], e.closed
	if !closed && other == nil {
		c.refs++
		p.refs = 1
		c.pools[p.key] = p
	} else if !closed {
		other.refs++
	}
	c.mu.Unlock()
	e.mu.Unlock()
	if closed || other != nil {
		p.shutdown()
		if closed {
			return nil, ErrClosed
		}
		return other, nil
	}
	return p, nil
}

// start makes an instance that is ready for batches.
func (c *code) start(s *sandbox) (*instance, error) {
	in, err := c.instantiate(s)
	if err != nil {
		return nil, err
	}
	if err := in.configure(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// Label is the name that the pool was made with.
func (p *Pool) Label() string { return p.key.label }

// Mask is what the module reads with this configuration.
func (p *Pool) Mask() abi.Mask { return p.mask }

// Process gives one batch to an instance and appends the checked actions to dst; their bytes belong to
// arena and to in. It waits for an instance until ctx ends; a call that has begun is not interrupted.
// When the module fails, the error is a *GuestError and the instance is discarded.
func (p *Pool) Process(ctx context.Context, in *abi.Input, arena *abi.Arena, dst []abi.Action) ([]abi.Action, error) {
	instance, err := p.acquire(ctx)
	if err != nil {
		return dst, err
	}
	size, err := in.Size(instance.mask)
	if err != nil {
		p.release(instance, true)
		return dst, err
	}
	begin := time.Now()
	dst, err = instance.run(in, size, p.limits, arena, dst)
	p.sandbox.observer.Call(p.key.label, time.Since(begin), len(in.Records), size, err)
	p.release(instance, err == nil)
	return dst, err
}

func (p *Pool) acquire(ctx context.Context) (*instance, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: waiting for an instance: %w", p.key.label, ctx.Err())
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.slots
		return nil, ErrClosed
	}
	p.inUse++
	if n := len(p.idle); n > 0 {
		in := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return in, nil
	}
	p.mu.Unlock()
	in, err := p.code.start(p.sandbox)
	if err != nil {
		p.release(nil, false)
		return nil, err
	}
	return in, nil
}

func (p *Pool) release(in *instance, healthy bool) {
	p.mu.Lock()
	keep := in != nil && healthy && !p.closed
	if keep {
		p.idle = append(p.idle, in)
	}
	p.mu.Unlock()
	if in != nil && !keep {
		in.close()
	}
	p.mu.Lock()
	p.inUse--
	drained := p.closed && p.inUse == 0
	p.mu.Unlock()
	<-p.slots
	if drained {
		close(p.drained)
	}
}

// Close drops one reference. With the last one it waits for calls under way and frees all instances.
func (p *Pool) Close() {
	p.code.mu.Lock()
	p.refs--
	last := p.refs == 0
	if last && p.code.pools[p.key] == p {
		delete(p.code.pools, p.key)
	}
	p.code.mu.Unlock()
	if !last {
		return
	}
	p.shutdown()
	<-p.drained
	p.code.engine.release(p.code)
}

func (p *Pool) stop() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	none := p.inUse == 0
	p.mu.Unlock()
	for _, in := range idle {
		in.close()
	}
	if none {
		close(p.drained)
	}
}

// Observer is what the pool reports to.
func (p *Pool) Observer() Observer { return p.sandbox.observer }
