package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// machineCode is how many bytes of executable mappings without a file the process has.
func machineCode(t *testing.T) int64 {
	t.Helper()
	runtime.GC() // some mappings go with a finalizer
	runtime.GC()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		var from, to int64
		if len(fields) != 5 || fields[1] != "r-xp" {
			continue
		}
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		n += to - from
	}
	return n
}

// cycle compiles, runs and releases a module; leaky keeps the compiled module open.
func cycle(t *testing.T, e *Engine, leaky bool) {
	t.Helper()
	p, err := openPool(e, wasmtest.Commands(0), PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Process(t.Context(), batch("k"), &abi.Arena{}, nil); err != nil {
		t.Fatal(err)
	}
	c := p.code
	if leaky {
		compiled, rt := c.compiled, c.runtime
		t.Cleanup(func() {
			if err := errors.Join(compiled.Close(context.Background()), rt.Close(context.Background())); err != nil {
				t.Error(err)
			}
		})
		c.compiled, c.runtime = nil, nil
	}
	p.Close()
}

func TestMachineCodeIsUnmapped(t *testing.T) {
	e, _ := newEngine(t, Options{IdleModules: -1})
	const cycles = 20
	growth := func(leaky bool) int64 {
		before := machineCode(t)
		for range cycles {
			cycle(t, e, leaky)
		}
		return machineCode(t) - before
	}
	growth(false)
	if n := growth(false); n >= cycles*4096 {
		t.Errorf("%d cycles left %d bytes of machine code", cycles, n)
	}
	if n := growth(true); n < cycles*4096 {
		t.Errorf("%d leaked modules went unnoticed: %d bytes", cycles, n)
	}
}
