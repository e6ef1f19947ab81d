package wasmtest

// Value types.
const (
	I32 = "\x7f"
	I64 = "\x7e"
)

// Module collects the parts of a module; Bytes writes it. Imports must come before functions.
type Module struct {
	types     [][2]string
	imports   []imported
	functions []function
	globals   []int32
	exports   []exported
	data      []segment
	pages     [2]int // minimum and maximum; a maximum of 0 is none
	noMemory  bool
	tables    []int
	start     int // function index plus 1
}

type imported struct {
	module, name string
	typeIndex    int
}

type function struct {
	typeIndex int
	locals    int // i32
	code      []byte
}

type exported struct {
	name  string
	kind  byte
	index int
}

type segment struct {
	at   int32
	data []byte
}

// New returns a module with one page of memory.
func New() *Module { return &Module{pages: [2]int{1, 0}} }

// Memory sets the memory's size in pages; max 0 sets no maximum.
func (m *Module) Memory(minPages, maxPages int) *Module {
	m.pages = [2]int{minPages, maxPages}
	return m
}

// Table adds a table of min elements.
func (m *Module) Table(min int) *Module {
	m.tables = append(m.tables, min)
	return m
}

// Data puts bytes into memory at the start.
func (m *Module) Data(at int, data string) *Module {
	m.data = append(m.data, segment{int32(at), []byte(data)})
	return m
}

// Global adds a mutable i32 and returns its index.
func (m *Module) Global(v int32) int {
	m.globals = append(m.globals, v)
	return len(m.globals) - 1
}

// Import adds an imported function and returns its index.
func (m *Module) Import(module, name, params, results string) int {
	m.imports = append(m.imports, imported{module, name, m.typeOf(params, results)})
	return len(m.imports) - 1
}

// Func adds a function with a number of i32 locals, exports it under name unless that is empty, and
// returns its index. The body is written by code and closed by Bytes.
func (m *Module) Func(name, params, results string, locals int, code func(c *Code)) int {
	c := &Code{}
	code(c)
	m.functions = append(m.functions, function{m.typeOf(params, results), locals, c.b})
	index := len(m.imports) + len(m.functions) - 1
	if name != "" {
		m.exports = append(m.exports, exported{name, 0, index})
	}
	return index
}

// Start makes function f run at instantiation.
func (m *Module) Start(f int) *Module {
	m.start = f + 1
	return m
}

func (m *Module) typeOf(params, results string) int {
	for i, t := range m.types {
		if t == [2]string{params, results} {
			return i
		}
	}
	m.types = append(m.types, [2]string{params, results})
	return len(m.types) - 1
}

// Bytes writes the module.
func (m *Module) Bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, entries [][]byte) {
		if len(entries) == 0 {
			return
		}
		body := appendU(nil, uint64(len(entries)))
		for _, e := range entries {
			body = append(body, e...)
		}
		out = append(appendU(append(out, id), uint64(len(body))), body...)
	}
	var types, imports, functions, tables, memories, globals, exports, codes, data [][]byte
	for _, t := range m.types {
		types = append(types, appendName(appendName([]byte{0x60}, t[0]), t[1]))
	}
	for _, i := range m.imports {
		imports = append(imports, appendU(append(appendName(appendName(nil, i.module), i.name), 0), uint64(i.typeIndex)))
	}
	for _, f := range m.functions {
		functions = append(functions, appendU(nil, uint64(f.typeIndex)))
		codes = append(codes, f.bytes())
	}
	for _, t := range m.tables {
		tables = append(tables, appendU([]byte{0x70, 0}, uint64(t)))
	}
	if !m.noMemory {
		memories = append(memories, limits(m.pages))
		exports = append(exports, append(appendName(nil, "memory"), 2, 0))
	}
	for _, g := range m.globals {
		globals = append(globals, append(appendS([]byte{0x7f, 1, 0x41}, int64(g)), 0x0b))
	}
	for _, e := range m.exports {
		exports = append(exports, appendU(append(appendName(nil, e.name), e.kind), uint64(e.index)))
	}
	for _, d := range m.data {
		b := append(appendS([]byte{0, 0x41}, int64(d.at)), 0x0b)
		data = append(data, append(appendU(b, uint64(len(d.data))), d.data...))
	}
	section(1, types)
	section(2, imports)
	section(3, functions)
	section(4, tables)
	section(5, memories)
	section(6, globals)
	section(7, exports)
	if m.start > 0 {
		body := appendU(nil, uint64(m.start-1))
		out = append(appendU(append(out, 8), uint64(len(body))), body...)
	}
	section(10, codes)
	section(11, data)
	return out
}

func (f function) bytes() []byte {
	var body []byte
	if f.locals > 0 {
		body = append(appendU([]byte{1}, uint64(f.locals)), 0x7f)
	} else {
		body = []byte{0}
	}
	body = append(append(body, f.code...), 0x0b)
	return append(appendU(nil, uint64(len(body))), body...)
}

func limits(pages [2]int) []byte {
	if pages[1] == 0 {
		return appendU([]byte{0}, uint64(pages[0]))
	}
	return appendU(appendU([]byte{1}, uint64(pages[0])), uint64(pages[1]))
}

func appendName(b []byte, s string) []byte { return append(appendU(b, uint64(len(s))), s...) }
