package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/module"
)

// build takes an upload to code that pools can instantiate. The steps, in order:
//
//	inspect   sections, imports, exports, memory, tables, all counts; nothing is compiled or run
//	strip     drop the custom sections, which compilers parse although they do not need them
//	validate  the instructions of every function (not there yet: nesting and body sizes reach the compiler
//	          unchecked, so a hostile upload can make it slow)
//	meter     rewrite the bodies so that they pay for every loop and call (not there yet: a module that
//	          loops stalls the core that runs it)
//	compile   into machine code, from the cache where possible (in this process so far; a child process
//	          with limits is its place)
//	trial     one instance, right away: wazero races on the very first one, and a module that cannot
//	          even start must not be accepted
//
// validate and meter take the module's bytes and return the bytes for the next step; they belong between
// strip and compile.
func (c *code) build(ctx context.Context, wasm []byte) error {
	info, err := module.Inspect(wasm, module.Limits{MaxMemoryBytes: uint64(c.engine.opts.MaxMemoryBytes)})
	if err != nil {
		return err
	}
	c.info = info
	if err := c.compileInTurn(ctx, module.WithoutCustom(wasm)); err != nil {
		return err
	}
	if err := c.trial(); err != nil {
		c.destroy()
		return err
	}
	return nil
}

func (c *code) compileInTurn(ctx context.Context, wasm []byte) error {
	select {
	case c.engine.compiling <- struct{}{}:
		defer func() { <-c.engine.compiling }()
	case <-ctx.Done():
		return fmt.Errorf("compile module %x: waiting for other compilations: %w", c.hash[:6], ctx.Err())
	}
	dir := c.engine.opts.CacheDir
	if dir == "" {
		return c.compile(wasm, "")
	}
	// Each module has a directory of its own, so that a damaged entry, which fails every compilation until
	// it is removed, can be removed without knowing how the compiler names its files.
	dir = path.Join(dir, hex.EncodeToString(c.hash[:]))
	err := c.compile(wasm, dir)
	if err == nil {
		return nil
	}
	// The error may be the cache's, for example on a full disk, and not the module's.
	if rmErr := c.engine.opts.FS.RemoveAll(dir); rmErr != nil {
		c.engine.opts.Logger.Error("compile cache: a damaged entry cannot be removed", "dir", dir, "error", rmErr)
	}
	return c.compile(wasm, "")
}

// compile makes the runtime, links the host functions and compiles. On an error it leaves nothing behind.
func (c *code) compile(wasm []byte, cacheDir string) (err error) {
	ctx := context.Background()
	defer func() {
		if err != nil {
			err = errors.Join(err, c.free())
		}
	}()
	config := wazero.NewRuntimeConfigCompiler()
	if c.engine.interpreter {
		config = wazero.NewRuntimeConfigInterpreter()
	}
	config = config.WithDebugInfoEnabled(false).WithMemoryLimitPages(uint32(c.engine.opts.MaxMemoryBytes / abi.PageSize))
	if cacheDir != "" {
		if c.cache, err = wazero.NewCompilationCacheWithDir(cacheDir); err != nil {
			return fmt.Errorf("compile module %x: %w", c.hash[:6], err)
		}
		config = config.WithCompilationCache(c.cache)
	}
	c.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	if _, err = wasi_snapshot_preview1.Instantiate(ctx, c.runtime); err != nil {
		return fmt.Errorf("link WASI: %w", err)
	}
	if err = linkHost(ctx, c.runtime); err != nil {
		return fmt.Errorf("link host functions: %w", err)
	}
	if c.compiled, err = c.runtime.CompileModule(ctx, wasm); err != nil {
		return fmt.Errorf("%w: compile: %s", module.ErrMalformed, firstLine(err))
	}
	return nil
}

// trial starts one instance with as much memory as a stage gets by default and asks for its fields.
func (c *code) trial() error {
	limit := max(c.engine.opts.DefaultMemoryBytes, int64(c.info.MemoryMinBytes))
	sandbox := newSandbox(c.engine, NoObserver{}, "module", nil, limit)
	in, err := c.instantiate(sandbox)
	if err != nil {
		return fmt.Errorf("%w: %w", module.ErrInvalid, err)
	}
	defer in.close()
	if err := in.readFields(); err != nil {
		return fmt.Errorf("%w: %w", module.ErrInvalid, err)
	}
	c.info.Fields = in.mask
	return nil
}

// compilerSupported finds out by compiling the smallest module there is.
func compilerSupported() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the WebAssembly compiler does not support this machine: %v", r)
		}
	}()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
	defer func() { err = errors.Join(err, rt.Close(ctx)) }()
	// (module (func)): without a function the compiler would have nothing to do.
	compiled, err := rt.CompileModule(ctx, []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x04\x01\x02\x00\x0b"))
	if err != nil {
		return fmt.Errorf("the WebAssembly compiler does not work on this machine: %w", err)
	}
	return compiled.Close(ctx)
}
