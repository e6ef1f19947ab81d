package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/wasmill/wasmill/wasm/abi"
)

// instance is one running copy of a module. One goroutine at a time; useless after any error.
type instance struct {
	sandbox *sandbox
	call    *call
	ctx     context.Context // carries call to the host functions
	mod     api.Module
	alloc   api.Function
	process api.Function
	mask    abi.Mask
	stack   [2]uint64 // parameters and results, so that calls allocate nothing
}

var errBadAlloc = errors.New("wasmill_alloc: bad address")

// instantiate starts an instance: memory, _initialize. Its configuration comes with configure.
func (c *code) instantiate(s *sandbox) (in *instance, err error) {
	if need := c.info.MemoryMinBytes; need > uint64(s.limit) {
		return nil, fmt.Errorf("%s needs %d bytes of memory at the start and the stage's limit is %d; raise the limit", s.label, need, s.limit)
	}
	mem := &memory{limit: uint64(s.limit), grown: func(delta int64) { s.observer.Memory(s.label, delta) }}
	in = &instance{sandbox: s, call: newCall(s), mask: abi.AllFields}
	in.ctx = context.WithValue(context.Background(), callKey{}, in.call)
	defer func() {
		// wazero panics when the system has no memory for an instance.
		if r := recover(); r != nil {
			in, err = nil, errors.Join(fmt.Errorf("%s: start an instance: %v", s.label, r), mem.err)
			mem.Free()
		}
	}()
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions(abi.ExportInitialize).
		WithStdout(&in.call.out).WithStderr(&in.call.err).
		WithRandSource(rand.Reader).WithWalltime(in.call.walltime, sys.ClockResolution(time.Millisecond)).
		WithNanotime(in.call.nanotime, sys.ClockResolution(time.Millisecond)).WithNanosleep(in.call.nanosleep).
		WithEnv("GOMEMLIMIT", strconv.FormatInt(s.limit/4*3, 10))
	in.mod, err = c.runtime.InstantiateModule(experimental.WithMemoryAllocator(in.ctx, mem), c.compiled, config)
	if err != nil {
		mem.Free() // wazero does so only on some of its error paths
		return nil, in.guestError("start", err)
	}
	s.observer.Instances(s.label, 1)
	in.alloc = in.mod.ExportedFunction(abi.ExportAlloc)
	in.process = in.mod.ExportedFunction(abi.ExportProcess)
	return in, nil
}

func (in *instance) guestError(op string, cause error) error {
	return &GuestError{Module: in.sandbox.label, Op: op, Cause: cause, Stderr: in.call.stderr}
}

// close frees the instance and its memory. No view of the memory may be in use.
func (in *instance) close() {
	if err := in.mod.Close(in.ctx); err != nil {
		in.sandbox.engine.opts.Logger.Error("a module instance was not closed", "module", in.sandbox.label, "error", err)
	}
	in.sandbox.observer.Instances(in.sandbox.label, -1)
}

// configure passes the stage's configuration to the module and asks it for its fields.
func (in *instance) configure() error {
	if init := in.mod.ExportedFunction(abi.ExportInit); init != nil {
		ptr, buf, err := in.allocate(len(in.sandbox.raw))
		if err != nil {
			return err
		}
		copy(buf, in.sandbox.raw)
		in.stack = [2]uint64{uint64(ptr), uint64(len(in.sandbox.raw))}
		if err := init.CallWithStack(in.ctx, in.stack[:]); err != nil {
			return in.guestError("init", err)
		}
		if code := api.DecodeI32(in.stack[0]); code != 0 {
			return in.guestError("init", &RefusedError{Code: code, Log: in.call.lastLine})
		}
	}
	return in.readFields()
}

func (in *instance) readFields() error {
	fields := in.mod.ExportedFunction(abi.ExportFields)
	if fields == nil {
		return nil
	}
	if err := fields.CallWithStack(in.ctx, in.stack[:1]); err != nil {
		return in.guestError("fields", err)
	}
	in.mask = abi.Mask(in.stack[0]) & abi.AllFields
	return nil
}

// allocate has the module allocate size bytes and returns a view of them, which is void after the next call.
func (in *instance) allocate(size int) (uint32, []byte, error) {
	in.stack[0] = uint64(size)
	if err := in.alloc.CallWithStack(in.ctx, in.stack[:1]); err != nil {
		return 0, nil, in.guestError("alloc", err)
	}
	ptr := uint32(in.stack[0])
	mem := in.mod.Memory()
	switch buf, ok := mem.Read(ptr, uint32(size)); {
	case ptr == 0:
		return 0, nil, in.guestError("alloc", fmt.Errorf("no room for %d bytes, memory is %d of at most %d: %w", size, mem.Size(), in.sandbox.limit, errBadAlloc))
	case ptr%abi.Alignment != 0:
		return 0, nil, in.guestError("alloc", fmt.Errorf("%#x is not a multiple of %d: %w", ptr, abi.Alignment, errBadAlloc))
	case !ok:
		return 0, nil, in.guestError("alloc", fmt.Errorf("%d bytes at %#x, memory is %d: %w", size, ptr, mem.Size(), errBadAlloc))
	default:
		return ptr, buf, nil
	}
}

// run gives one batch to the module and appends its checked actions to dst.
func (in *instance) run(batch *abi.Input, size int, limits abi.Limits, arena *abi.Arena, dst []abi.Action) ([]abi.Action, error) {
	in.call.begin(batch)
	defer in.call.end()
	ptr, buf, err := in.allocate(size)
	if err != nil {
		return dst, err
	}
	batch.Encode(buf, in.mask)
	in.stack = [2]uint64{uint64(ptr), uint64(size)}
	if err := in.process.CallWithStack(in.ctx, in.stack[:]); err != nil {
		return dst, in.guestError("process", err)
	}
	mem := in.mod.Memory()
	view, _ := mem.Read(0, mem.Size())
	actions, err := abi.Decode(view, in.stack[0], batch, limits, arena, dst)
	if err != nil {
		return dst, in.guestError("answer", err)
	}
	return actions, nil
}
