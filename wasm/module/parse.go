package module

import (
	"bytes"
	"fmt"
	"math"

	"github.com/wasmill/wasmill/wasm/abi"
)

const (
	kindFunction = 0
	kindTable    = 1
	kindMemory   = 2
	kindGlobal   = 3
	kindTag      = 4
)

const (
	sectionCustom   = 0
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionTable    = 4
	sectionMemory   = 5
	sectionGlobal   = 6
	sectionExport   = 7
	sectionElement  = 9
	sectionCode     = 10
	sectionData     = 11
	sectionLast     = 13 // tag
)

var magic = []byte("\x00asm")

// binary is what the sections say about the interface.
type binary struct {
	types     []abi.Signature
	imports   []importEntry
	functions []uint32 // type of every function, imported ones first
	tables    []limitsEntry
	memories  []limitsEntry
	exports   []exportEntry

	importedFunctions int
}

type importEntry struct {
	module, name string
	kind         byte
	typeIndex    uint32
}

type exportEntry struct {
	name  string
	kind  byte
	index uint32
}

type limitsEntry struct {
	min    uint64
	max    uint64
	hasMax bool
	shared bool
}

// parse walks the sections. Custom ones are skipped by their length.
func parse(wasm []byte, limits Limits) (*binary, error) {
	if err := checkPreamble(wasm); err != nil {
		return nil, err
	}
	m := &binary{}
	r := &reader{b: wasm[8:], at: 8}
	var seen [sectionLast + 1]bool
	for len(r.b) > 0 && r.err == nil {
		id := r.byte()
		size := r.u32()
		if id > sectionLast {
			r.fail(ErrMalformed, "section %d is not known", id)
		} else if id != sectionCustom && seen[id] {
			r.fail(ErrMalformed, "section %d appears twice", id)
		}
		if r.err != nil {
			break
		}
		seen[id] = true
		at := r.at
		body := r.skip(int(min(size, math.MaxInt32)))
		if r.err != nil {
			return nil, fmt.Errorf("section %d: %w", id, r.err)
		}
		if err := m.section(id, &reader{b: body, at: at}, limits); err != nil {
			return nil, fmt.Errorf("section %d: %w", id, err)
		}
	}
	return m, r.err
}

func checkPreamble(wasm []byte) error {
	switch {
	case len(wasm) == 0:
		return fmt.Errorf("%w: the upload is empty; send the bytes of a .wasm file", ErrNotWasm)
	case !bytes.HasPrefix(wasm, magic[:min(len(wasm), 4)]):
		return fmt.Errorf("%w: it begins with % x instead of 00 61 73 6d; send the binary .wasm file, not its text or source", ErrNotWasm, wasm[:min(len(wasm), 4)])
	case len(wasm) < 8:
		return fmt.Errorf("%w: %d bytes are fewer than a module's first 8; upload the file again", ErrTruncated, len(wasm))
	case wasm[6] == 1 && wasm[7] == 0:
		return fmt.Errorf("%w: this is a WebAssembly component; build a core module, for example Go with GOOS=wasip1 -buildmode=c-shared, Rust for wasm32-unknown-unknown or wasm32-wasip1, C with --target=wasm32", ErrComponent)
	case !bytes.Equal(wasm[4:8], []byte{1, 0, 0, 0}):
		return fmt.Errorf("%w: version % x, only version 1 is known", ErrNotWasm, wasm[4:8])
	}
	return nil
}

func (m *binary) section(id byte, r *reader, limits Limits) error {
	switch id {
	case sectionType:
		m.readTypes(r, limits)
	case sectionImport:
		m.readImports(r, limits)
	case sectionFunction:
		for range r.count("functions", limits.MaxFunctions) {
			m.functions = append(m.functions, r.u32())
		}
	case sectionTable:
		m.readTables(r, limits)
	case sectionMemory:
		for range r.count("memories", 1) {
			m.memories = append(m.memories, r.limits())
		}
	case sectionExport:
		for range r.count("exports", limits.MaxExports) {
			m.exports = append(m.exports, exportEntry{name: r.name(), kind: r.byte(), index: r.u32()})
		}
	case sectionGlobal:
		m.readGlobals(r)
	case sectionElement:
		m.readElements(r, limits)
	case sectionCode:
		m.readCode(r, limits)
	case sectionData:
		m.readData(r)
	default:
		return nil
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail(ErrMalformed, "%d bytes are left over", len(r.b))
	}
	return r.err
}

func (m *binary) readTypes(r *reader, limits Limits) {
	for range r.count("types", limits.MaxTypes) {
		if form := r.byte(); r.err == nil && form != 0x60 {
			r.fail(ErrMalformed, "type form %#x; only functions are supported (no garbage-collected types)", form)
		}
		m.types = append(m.types, abi.Signature{Params: string(r.valueTypes()), Results: string(r.valueTypes())})
		if r.err != nil {
			return
		}
	}
}

// valueTypes returns a list of value types as they stand in the binary.
func (r *reader) valueTypes() []byte {
	const limit = 1000
	types := r.skip(r.count("values", limit))
	for _, t := range types {
		if !isNumber(t) && !isReference(t) {
			r.fail(ErrMalformed, "value type %#x is not known", t)
			return nil
		}
	}
	return types
}

func isNumber(t byte) bool    { return t >= 0x7b && t <= 0x7f } // v128, f64, f32, i64, i32
func isReference(t byte) bool { return t == 0x70 || t == 0x6f } // funcref, externref

func (m *binary) readImports(r *reader, limits Limits) {
	for range r.count("imports", limits.MaxImports) {
		e := importEntry{module: r.name(), name: r.name(), kind: r.byte()}
		switch e.kind {
		case kindFunction:
			e.typeIndex = r.u32()
			m.functions = append(m.functions, e.typeIndex)
			m.importedFunctions++
		case kindTable:
			r.byte()
			r.limits()
		case kindMemory:
			r.limits()
		case kindGlobal:
			r.skip(2)
		case kindTag:
			r.byte()
			r.u32()
		default:
			r.fail(ErrMalformed, "import kind %d is not known", e.kind)
		}
		if r.err != nil {
			return
		}
		m.imports = append(m.imports, e)
	}
}

func (m *binary) readTables(r *reader, limits Limits) {
	var elements uint64
	for range r.count("tables", limits.MaxTables) {
		if t := r.byte(); r.err == nil && !isReference(t) {
			r.fail(ErrMalformed, "table of type %#x", t)
		}
		t := r.limits()
		if elements += t.min; r.err == nil && elements > limits.MaxTableElements {
			r.fail(ErrTable, "%d elements, the limit is %d", elements, limits.MaxTableElements)
		}
		if r.err != nil {
			return
		}
		m.tables = append(m.tables, t)
	}
}

func (r *reader) limits() limitsEntry {
	flags := r.byte()
	if r.err == nil && flags > 3 {
		r.fail(ErrMalformed, "limits %#x; 64-bit memories are not supported", flags)
	}
	l := limitsEntry{min: uint64(r.u32()), hasMax: flags&1 != 0, shared: flags&2 != 0}
	if l.hasMax {
		if l.max = uint64(r.u32()); r.err == nil && l.max < l.min {
			r.fail(ErrMalformed, "a maximum of %d below the minimum of %d", l.max, l.min)
		}
	}
	return l
}
