package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/module"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProcess(t *testing.T) {
	e, m := newEngine(t, Options{})
	p := newPool(t, e, wasmtest.Commands(0), PoolOptions{})
	got, err := process(p, batch("k", "d", "e!", "f", "x", "r"))
	if want := "keep0 emit2 keep3 emit3 emit3 route4 reject5"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if m.calls != 1 || m.failed != 0 || m.instances != 1 || m.memory == 0 {
		t.Errorf("observer saw %+v", m)
	}
}

func TestInstanceIsDiscardedAfterAnyError(t *testing.T) {
	e, m := newEngine(t, Options{MaxInstances: 1})
	p := newPool(t, e, wasmtest.Commands(0), PoolOptions{})
	for i, bad := range []string{"t", "b", "o"} {
		if _, err := process(p, batch("k", bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
		if got, err := process(p, batch("k")); err != nil || got != "keep0" {
			t.Errorf("after %s: got %q, %v", bad, got, err)
		}
		if m.started != i+2 || m.instances != 1 {
			t.Errorf("after %s: %d instances were started and %d live, want %d and 1", bad, m.started, m.instances, i+2)
		}
	}
}

// badGuests are modules that compile and then misbehave in a call.
func badGuests() map[string]struct {
	wasm []byte
	want error  // nil: any guest error
	text string // in the message
} {
	type guest = struct {
		wasm []byte
		want error
		text string
	}
	says := func(actions ...[]byte) []byte { return wasmtest.Says(wasmtest.Answer(actions...), 0) }
	process := func(code func(c *wasmtest.Code)) []byte { return wasmtest.With(wasmtest.Parts{Process: code}) }
	alloc := func(v int32) []byte {
		return wasmtest.With(wasmtest.Parts{Alloc: func(c *wasmtest.Code) { c.I32(v) }})
	}
	routed := wasmtest.Action(2, 0, 0)
	copy(routed[8:], []byte{0, 32, 0, 0, 3, 0, 0, 0}) // its topic is the answer's own first bytes
	return map[string]guest{
		"traps":                  {process(func(c *wasmtest.Code) { c.Unreachable() }), nil, "unreachable"},
		"reads out of bounds":    {process(func(c *wasmtest.Code) { c.I32(-8).Load32(0).Drop().I64(0) }), nil, "out of bounds memory access"},
		"recursion without end":  {process(func(c *wasmtest.Code) { c.Get(0).Get(1).Call(1) }), nil, "stack overflow"},
		"exits":                  {exiting(), nil, "exited with code 3"},
		"alloc returns 0":        {alloc(0), errBadAlloc, "no room"},
		"alloc returns odd":      {alloc(2049), errBadAlloc, "multiple of 8"},
		"alloc past the end":     {alloc(-8), errBadAlloc, "memory is 65536"},
		"alloc traps":            {wasmtest.With(wasmtest.Parts{Alloc: func(c *wasmtest.Code) { c.Unreachable() }}), nil, "alloc: unreachable"},
		"bit 63":                 {wasmtest.With(wasmtest.Parts{Data: "sorry", Process: func(c *wasmtest.Code) { c.I64(-1<<63 | wasmtest.DataAt<<32 | 5) }}), nil, "sorry"},
		"bit 63, message lies":   {process(func(c *wasmtest.Code) { c.I64(-1) }), nil, "out of bounds"},
		"output past the end":    {wasmtest.Says(wasmtest.Answer(), 0x1fff0<<32|17), abi.ErrBounds, "memory is"},
		"output length lies":     {wasmtest.Says(wasmtest.Answer(wasmtest.Action(1, 0, 0)), 8<<10<<32|16), abi.ErrMalformed, "1 actions in an output of 16 bytes"},
		"output count lies":      {wasmtest.Says([]byte{16, 0, 0, 0, 64, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 0), abi.ErrMalformed, "4294967295 actions"},
		"returns 0":              {process(func(c *wasmtest.Code) { c.I64(0) }), abi.ErrMalformed, "0 bytes"},
		"record out of bounds":   {says(wasmtest.Action(1, 0, 2)), abi.ErrBounds, "names record 2 of 2"},
		"overlapping actions":    {says(wasmtest.Action(1, 0, 1), wasmtest.Action(1, 0, 1)), abi.ErrConflict, "kept twice"},
		"conflicting actions":    {says(wasmtest.Action(1, 0, 1), wasmtest.Action(4, 0, 1)), abi.ErrConflict, "rejected"},
		"out of order":           {says(wasmtest.Action(1, 0, 1), wasmtest.Action(1, 0, 0)), abi.ErrOrder, "record 0 after record 1"},
		"topic that cannot be":   {says(routed), abi.ErrTopic, "invalid topic"},
		"unknown kind":           {says(wasmtest.Action(9, 0, 0)), abi.ErrMalformed, "kind 9"},
		"value over the limit":   {says(emitting(28, 64, 2000)), abi.ErrLimit, "a record has at most"},
		"value past the end":     {says(emitting(28, 16<<20, 8)), abi.ErrBounds, "value of 8 bytes"},
		"too many actions":       {says(manyEmits(17)...), abi.ErrLimit, "more than 16 actions"},
		"headers over the limit": {says(emitting(36, 64, 2000)), abi.ErrLimit, "headers of"},
	}
}

func exiting() []byte {
	return wasmtest.With(wasmtest.Parts{
		Imports: [][4]string{{"wasi_snapshot_preview1", "proc_exit", wasmtest.I32, ""}},
		Process: func(c *wasmtest.Code) { c.I32(3).Call(0).Unreachable() },
	})
}

// emitting is an EMIT whose pair of address and length at a place is set.
func emitting(at int, ptr, size uint32) []byte {
	b := wasmtest.Action(3, 0, 0)
	for i := range 4 {
		b[at+i], b[at+4+i] = byte(ptr>>(8*i)), byte(size>>(8*i))
	}
	return b
}

func manyEmits(n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = wasmtest.Action(3, 4+8+16, 0)
	}
	return list
}

func TestBadGuests(t *testing.T) {
	e, m := newEngine(t, Options{})
	for name, c := range badGuests() {
		t.Run(name, func(t *testing.T) {
			// The limits are small so that a module of a few pages can break them.
			limits := Limits{Answer: abi.Limits{MaxRecordBytes: 1000}}
			wasm := c.wasm
			p := newPool(t, e, wasm, PoolOptions{Limits: limits})
			_, err := p.Process(t.Context(), batch("a", "b"), &abi.Arena{}, nil)
			var guest *GuestError
			if !errors.As(err, &guest) {
				t.Fatalf("got %v, want a *GuestError", err)
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %q, want %v with %q in it", err, c.want, c.text)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q has more than one line", err)
			}
		})
	}
	if m.failed == 0 {
		t.Error("the observer saw no failure")
	}
}

func TestMemoryGrowsToTheLimitAndNoFurther(t *testing.T) {
	// Grows page by page until it is refused, then answers with the number of pages as an exit code.
	wasm := wasmtest.With(wasmtest.Parts{
		Imports: [][4]string{{"wasi_snapshot_preview1", "proc_exit", wasmtest.I32, ""}},
		Process: func(c *wasmtest.Code) {
			c.Block().Loop().I32(1).MemoryGrow().I32(-1).Eq().BrIf(1).Br(0).End().End()
			c.MemorySize().Call(0).Unreachable()
		},
	})
	e, m := newEngine(t, Options{MaxMemoryBytes: 64 << 20, DefaultMemoryBytes: 8 << 20})
	for _, limit := range []int64{0, 1 << 20, 64 << 20} {
		p := newPool(t, e, wasm, PoolOptions{Limits: Limits{MemoryBytes: limit}})
		want := fmt.Sprintf("exited with code %d", max(limit, 1<<20)>>16)
		if limit == 0 {
			want = "exited with code 128"
		}
		if _, err := process(p, batch("a")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("limit %d: got %v, want %s", limit, err, want)
		}
	}
	if _, err := openPool(e, wasm, PoolOptions{Limits: Limits{MemoryBytes: 65 << 20}}); err == nil {
		t.Error("a limit above the engine's was accepted")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.memory != 0 {
		t.Errorf("%d bytes of memory are left of discarded instances", m.memory)
	}
}

func TestStageLimitBelowTheModulesMinimum(t *testing.T) {
	e, _ := newEngine(t, Options{})
	_, err := openPool(e, wasmtest.With(wasmtest.Parts{Memory: [2]int{32, 0}}), PoolOptions{Limits: Limits{MemoryBytes: 1 << 20}})
	if err == nil || !strings.Contains(err.Error(), "needs 2097152 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestCompileRefuses(t *testing.T) {
	e, _ := newEngine(t, Options{CacheDir: t.TempDir()})
	for name, c := range map[string]struct {
		wasm []byte
		want error
	}{
		"not Wasm":             {[]byte("#!/bin/sh"), module.ErrNotWasm},
		"broken body":          {wasmtest.With(wasmtest.Parts{Process: func(c *wasmtest.Code) { c.I32(0) }}), module.ErrMalformed},
		"_initialize traps":    {wasmtest.With(wasmtest.Parts{Initialize: func(c *wasmtest.Code) { c.Unreachable() }}), module.ErrInvalid},
		"start function traps": {trappingStart(), module.ErrInvalid},
		"fields trap":          {wasmtest.With(wasmtest.Parts{Fields: func(c *wasmtest.Code) { c.Unreachable() }}), module.ErrInvalid},
		"WASI signature":       {wasmtest.With(wasmtest.Parts{Imports: [][4]string{{"wasi_snapshot_preview1", "proc_exit", wasmtest.I64, ""}}}), module.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // a failure is not remembered
				if _, err := e.Compile(t.Context(), c.wasm); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
			}
		})
	}
	if len(e.codes) != 0 {
		t.Errorf("%d refused modules are still known", len(e.codes))
	}
}

func trappingStart() []byte {
	m := wasmtest.New()
	m.Func("wasmill_alloc", wasmtest.I32, wasmtest.I32, 0, func(c *wasmtest.Code) { c.I32(8) })
	m.Func("wasmill_process_v1", wasmtest.I32+wasmtest.I32, wasmtest.I64, 0, func(c *wasmtest.Code) { c.I64(0) })
	return m.Start(m.Func("", "", "", 0, func(c *wasmtest.Code) { c.Unreachable() })).Bytes()
}

func TestCompilesOncePerContent(t *testing.T) {
	e, _ := newEngine(t, Options{IdleModules: -1})
	wasm := wasmtest.Identity()
	var handles [8]*Module
	var wg sync.WaitGroup
	for i := range handles {
		wg.Go(func() {
			m, err := e.Compile(context.Background(), wasm)
			if err != nil {
				t.Error(err)
			}
			handles[i] = m
		})
	}
	wg.Wait()
	for _, m := range handles {
		if m.code != handles[0].code {
			t.Fatal("two compilations of the same bytes")
		}
	}
	p, err := handles[0].Pool(PoolOptions{Label: "identity@1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range handles {
		m.Release()
		m.Release()
	}
	if got, err := process(p, batch("a")); err != nil || got != "keep0" {
		t.Errorf("the pool does not outlive the handles: %q, %v", got, err)
	}
	c := p.code
	p.Close()
	if len(e.codes) != 0 || c.compiled != nil || c.runtime != nil {
		t.Error("the last one out did not close the compiled module")
	}
}

func TestIdleModulesStayCompiled(t *testing.T) {
	e, _ := newEngine(t, Options{IdleModules: 2})
	compile := func(at int) *code {
		t.Helper()
		m, err := e.Compile(t.Context(), wasmtest.Commands(at))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		return m.code
	}
	first, second := compile(1), compile(2)
	if compile(1) != first || compile(2) != second {
		t.Error("a module was compiled again although it was idle only")
	}
	third := compile(3) // the first has been idle longest
	if first.compiled != nil || second.compiled == nil || third.compiled == nil || len(e.codes) != 2 {
		t.Errorf("%d modules are known", len(e.codes))
	}
	if compile(1) == first {
		t.Error("a freed module came back")
	}
}

func TestEqualPoolsAreOne(t *testing.T) {
	e, m := newEngine(t, Options{})
	wasm := wasmtest.Identity()
	a := newPool(t, e, wasm, PoolOptions{Config: []byte(`{"a":1}`)})
	b := newPool(t, e, wasm, PoolOptions{Config: []byte(`{"a":1}`)})
	c := newPool(t, e, wasm, PoolOptions{Config: []byte(`{"a":2}`)})
	if a != b || a == c || m.instances != 2 {
		t.Errorf("equal options: one pool %v; other options: one pool %v; %d instances", a == b, a == c, m.instances)
	}
}

func TestMaxInstancesAndWaiting(t *testing.T) {
	e, m := newEngine(t, Options{MaxInstances: 2})
	p := newPool(t, e, wasmtest.Identity(), PoolOptions{})
	first, err := p.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Process(ctx, batch("a"), &abi.Arena{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want to be told that the context ended", err)
	}
	done := make(chan error)
	go func() { _, err := process(p, batch("a")); done <- err }()
	p.release(first, true)
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.release(second, false)
	if m.started != 2 || m.instances != 1 {
		t.Errorf("%d instances were started and %d live, want 2 and 1", m.started, m.instances)
	}
}

func TestCloseWaitsForCallsAndRefusesNewOnes(t *testing.T) {
	e, m := newEngine(t, Options{})
	p, err := openPool(e, wasmtest.Identity(), PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close with a call under way: %v", err)
	}
	if _, err := process(p, batch("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("Process after Close: %v", err)
	}
	if _, err := e.Compile(t.Context(), wasmtest.Identity()); !errors.Is(err, ErrClosed) {
		t.Errorf("Compile after Close: %v", err)
	}
	p.release(in, true)
	p.Close()
	if m.instances != 0 || p.code.compiled != nil {
		t.Errorf("%d instances are left, module freed: %v", m.instances, p.code.compiled == nil)
	}
}
