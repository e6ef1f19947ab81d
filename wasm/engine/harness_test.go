package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
)

// meter is an Observer that keeps totals.
type meter struct {
	mu        sync.Mutex
	calls     int
	failed    int
	instances int
	started   int
	memory    int64
	metrics   map[string]int64
}

func (m *meter) Call(_ string, _ time.Duration, _, _ int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if err != nil {
		m.failed++
	}
}

func (m *meter) Outcome(string, Outcome) {}

func (m *meter) Instances(_ string, delta int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.instances += delta
	if delta > 0 {
		m.started += delta
	}
}

func (m *meter) Memory(_ string, delta int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memory += delta
}

func (m *meter) GuestMetric(module, name string, delta int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.metrics == nil {
		m.metrics = map[string]int64{}
	}
	m.metrics[module+"/"+name] += delta
}

// newEngine returns an engine that is closed, and checked for leaks, at the end of the test.
func newEngine(t testing.TB, opts Options) (*Engine, *meter) {
	t.Helper()
	m := &meter{}
	opts.Observer = m
	e, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.instances != 0 || m.memory != 0 {
			t.Errorf("after Close %d instances and %d bytes of memory are left", m.instances, m.memory)
		}
	})
	return e, m
}

func newPool(t testing.TB, e *Engine, wasm []byte, opts PoolOptions) *Pool {
	t.Helper()
	p, err := openPool(e, wasm, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func openPool(e *Engine, wasm []byte, opts PoolOptions) (*Pool, error) {
	m, err := e.Compile(context.Background(), wasm)
	if err != nil {
		return nil, err
	}
	defer m.Release()
	if opts.Label == "" {
		opts.Label = "guest@1"
	}
	return m.Pool(opts)
}

func batch(values ...string) *abi.Input {
	in := &abi.Input{Topic: "t", BaseOffset: -1, BaseTimestamp: 1000}
	for i, v := range values {
		in.Records = append(in.Records, record.Record{OffsetDelta: int32(i), Timestamp: 1000, Key: []byte("k"), Value: []byte(v)})
	}
	return in
}

func process(p *Pool, in *abi.Input) (string, error) {
	actions, err := p.Process(context.Background(), in, &abi.Arena{}, nil)
	var s strings.Builder
	for _, a := range actions {
		fmt.Fprintf(&s, "%v%d ", a.Kind, a.Index)
	}
	return strings.TrimSpace(s.String()), err
}
