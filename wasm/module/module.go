// Package module reads a WebAssembly binary far enough to decide whether it can be a transform: its
// sections, types, imports, exports, memory and tables. It runs before any compiler gets the bytes, it
// never allocates more than their number justifies, and its errors say what the author has to do.
//
// The instructions of functions are skipped. Validating them is a separate step before the compiler.
package module

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/wasmill/wasmill/wasm/abi"
)

// ErrInvalid is wrapped by every error of this package.
var ErrInvalid = errors.New("invalid module")

// Why a module is refused.
var (
	ErrNotWasm        = fmt.Errorf("%w: not WebAssembly", ErrInvalid)
	ErrComponent      = fmt.Errorf("%w: a component", ErrInvalid)
	ErrTruncated      = fmt.Errorf("%w: truncated", ErrInvalid)
	ErrMalformed      = fmt.Errorf("%w: malformed", ErrInvalid)
	ErrMissingExport  = fmt.Errorf("%w: missing export", ErrInvalid)
	ErrWrongSignature = fmt.Errorf("%w: wrong signature", ErrInvalid)
	ErrUnknownImport  = fmt.Errorf("%w: unknown import", ErrInvalid)
	ErrMemory         = fmt.Errorf("%w: memory", ErrInvalid)
	ErrTable          = fmt.Errorf("%w: tables", ErrInvalid)
	ErrTooLarge       = fmt.Errorf("%w: too large", ErrInvalid)
)

// Limits bound a module. A field that is zero takes its value of DefaultLimits.
type Limits struct {
	MaxBytes         int    // of the binary
	MaxMemoryBytes   uint64 // that its memory may need at the start
	MaxTableElements uint64 // in all tables together; tables escape the memory limit
	MaxTables        int
	MaxTypes         int
	MaxImports       int
	MaxExports       int
	MaxFunctions     int
}

// DefaultLimits are the limits of a broker without configuration.
func DefaultLimits() Limits {
	return Limits{
		MaxBytes: 32 << 20, MaxMemoryBytes: abi.DefaultMemoryBytes, MaxTableElements: 1 << 20, MaxTables: 16,
		MaxTypes: 10_000, MaxImports: 256, MaxExports: 10_000, MaxFunctions: 200_000,
	}
}

// withDefaults fills the fields that are not set.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		MaxBytes:         cmp.Or(l.MaxBytes, d.MaxBytes),
		MaxMemoryBytes:   cmp.Or(l.MaxMemoryBytes, d.MaxMemoryBytes),
		MaxTableElements: cmp.Or(l.MaxTableElements, d.MaxTableElements),
		MaxTables:        cmp.Or(l.MaxTables, d.MaxTables),
		MaxTypes:         cmp.Or(l.MaxTypes, d.MaxTypes),
		MaxImports:       cmp.Or(l.MaxImports, d.MaxImports),
		MaxExports:       cmp.Or(l.MaxExports, d.MaxExports),
		MaxFunctions:     cmp.Or(l.MaxFunctions, d.MaxFunctions),
	}
}

// Info describes a module that can be a transform.
type Info struct {
	ABI            string   // for example "wasmill-v1"
	Fields         abi.Mask // what it reads; all of them until the module has been compiled and asked
	Exports        []string // functions, in the order of the binary
	Imports        []string // module.name, in the order of the binary
	SHA256         [32]byte
	Size           int    // bytes
	MemoryMinBytes uint64 // what an instance needs at the start
	HasInit        bool   // takes a configuration through wasmill_init_v1
	HasFields      bool
	UsesWASI       bool
}

// Inspect reads wasm and checks that it is a transform within limits. It keeps nothing of wasm.
func Inspect(wasm []byte, limits Limits) (Info, error) {
	limits = limits.withDefaults()
	if len(wasm) > limits.MaxBytes {
		return Info{}, fmt.Errorf("%w: %d bytes, the limit is %d; strip debug information (Go: -ldflags='-s -w')", ErrTooLarge, len(wasm), limits.MaxBytes)
	}
	m, err := parse(wasm, limits)
	if err != nil {
		return Info{}, err
	}
	for _, check := range []func(*binary, Limits) error{checkImports, checkExports, checkMemory} {
		if err := check(m, limits); err != nil {
			return Info{}, err
		}
	}
	info := Info{
		ABI: abi.Name, Fields: abi.AllFields, SHA256: sha256.Sum256(wasm), Size: len(wasm),
		MemoryMinBytes: uint64(m.memories[0].min) * abi.PageSize,
	}
	for _, e := range m.exports {
		if e.kind == kindFunction {
			info.Exports = append(info.Exports, e.name)
			info.HasInit = info.HasInit || e.name == abi.ExportInit
			info.HasFields = info.HasFields || e.name == abi.ExportFields
		}
	}
	for _, i := range m.imports {
		info.Imports = append(info.Imports, i.module+"."+i.name)
		info.UsesWASI = info.UsesWASI || i.module == wasiModule
	}
	return info, nil
}
