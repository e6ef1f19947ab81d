package engine

import (
	"context"
	"log/slog"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/wasmill/wasmill/wasm/abi"
)

const maxLogLine = 4096

// hostFunction does what a function of abi.HostFunctions promises. Its panics become traps of the calling
// module.
type hostFunction func(c *call, mem api.Memory, stack []uint64)

var hostFunctions = map[string]hostFunction{
	abi.ImportLog:       hostLog,
	abi.ImportConfigGet: hostConfigGet,
	abi.ImportMetricAdd: hostMetricAdd,
	abi.ImportNow:       func(c *call, _ api.Memory, stack []uint64) { stack[0] = uint64(c.now()) },
	abi.ImportRandom:    hostRandom,
}

// linkHost offers the host functions to a runtime. They are plain stack functions: the reflective kind
// costs 1.5 microseconds a call.
func linkHost(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(abi.ImportModule)
	for _, f := range abi.HostFunctions {
		do := hostFunctions[f.Name]
		run := api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			do(callOf(ctx), m.Memory(), stack)
		})
		b.NewFunctionBuilder().WithGoModuleFunction(run, []api.ValueType(f.Params), []api.ValueType(f.Results)).Export(f.Name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// view returns the module's bytes at ptr, or traps.
func view(mem api.Memory, ptr, size uint64) []byte {
	b, ok := mem.Read(uint32(ptr), uint32(size))
	if !ok {
		panic(errOutOfBounds)
	}
	return b
}

func hostLog(c *call, mem api.Memory, stack []uint64) {
	levels := [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	level := slog.LevelInfo
	if n := uint32(stack[0]); n < uint32(len(levels)) {
		level = levels[n]
	}
	line := view(mem, stack[1], stack[2])
	c.logLine(level, line[:min(len(line), maxLogLine)])
}

func hostConfigGet(c *call, mem api.Memory, stack []uint64) {
	value, ok := c.sandbox.config[string(view(mem, stack[0], stack[1]))]
	if !ok {
		stack[0] = api.EncodeI32(-1)
		return
	}
	if len(value) > 0 && uint64(uint32(stack[3])) >= uint64(len(value)) {
		copy(view(mem, stack[2], uint64(len(value))), value)
	}
	stack[0] = uint64(len(value))
}

func hostMetricAdd(c *call, mem api.Memory, stack []uint64) {
	c.sandbox.meters.add(view(mem, stack[0], stack[1]), int64(stack[2]))
}

func hostRandom(c *call, mem api.Memory, stack []uint64) { c.fill(view(mem, stack[0], stack[1])) }
