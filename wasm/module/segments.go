package module

// This file walks the sections that are not part of the interface. Nothing in them is used here, but a
// decoder that relies on their counts allocates gigabytes for a file of a few bytes, so each count is
// checked against the number of bytes, and the sums against limits.

const (
	maxGlobals      = 100_000
	maxSegments     = 100_000 // of data
	maxElements     = 10_000  // segments; their entries count as table elements
	maxBodyLocals   = 50_000  // of one function
	maxLocals       = 2_000_000
	maxConstantSize = 16 // instructions
)

func (m *binary) readGlobals(r *reader) {
	for range r.count("globals", maxGlobals) {
		r.skip(2)
		r.constant()
		if r.err != nil {
			return
		}
	}
}

// constant skips a constant expression.
func (r *reader) constant() {
	for range maxConstantSize {
		switch op := r.byte(); op {
		case 0x0b: // end
			return
		case 0x41, 0x42, 0x23, 0xd2: // i32.const, i64.const, global.get, ref.func
			r.leb()
		case 0xd0: // ref.null
			r.skip(1)
		case 0x43: // f32.const
			r.skip(4)
		case 0x44: // f64.const
			r.skip(8)
		case 0xfd: // v128.const
			r.u32()
			r.skip(16)
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e: // add, sub, mul
		default:
			r.fail(ErrMalformed, "instruction %#x in a constant", op)
		}
		if r.err != nil {
			return
		}
	}
	r.fail(ErrMalformed, "a constant of more than %d instructions", maxConstantSize)
}

// leb skips a number of at most 64 bits, signed or not.
func (r *reader) leb() {
	for range 10 {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail(ErrMalformed, "a number is longer than 64 bits")
}

// readElements follows the eight forms of an element segment: bit 0 is passive or declarative, bit 1 says
// that a table index or a declaration follows, bit 2 that entries are expressions and not indexes.
func (m *binary) readElements(r *reader, limits Limits) {
	total := 0
	for range r.count("element segments", maxElements) {
		form := r.u32()
		if form > 7 {
			r.fail(ErrMalformed, "element segment of form %d", form)
		}
		if form&1 == 0 {
			if form&2 != 0 {
				r.u32()
			}
			r.constant()
		}
		if form&3 != 0 {
			r.skip(1) // kind or type
		}
		n := r.count("elements", int(min(limits.MaxTableElements, 1<<30)))
		if total += n; uint64(total) > limits.MaxTableElements {
			r.fail(ErrTable, "%d elements, the limit is %d", total, limits.MaxTableElements)
		}
		for range n {
			if form&4 != 0 {
				r.constant()
			} else {
				r.u32()
			}
			if r.err != nil {
				return
			}
		}
		if r.err != nil {
			return
		}
	}
}

// readCode checks sizes and locals; the instructions themselves are skipped.
func (m *binary) readCode(r *reader, limits Limits) {
	n := r.count("function bodies", limits.MaxFunctions)
	if declared := len(m.functions) - m.importedFunctions; r.err == nil && n != declared {
		r.fail(ErrMalformed, "%d function bodies for %d functions", n, declared)
	}
	total := uint64(0)
	for range n {
		size := r.u32()
		body := &reader{at: r.at, b: r.skip(int(min(uint64(size), uint64(len(r.b))+1))), err: r.err}
		locals := uint64(0)
		for range body.count("groups of locals", maxBodyLocals) {
			locals += uint64(body.u32())
			body.skip(1)
			if body.err != nil {
				break
			}
		}
		if locals > maxBodyLocals {
			body.fail(ErrTooLarge, "%d locals in a function, the limit is %d", locals, maxBodyLocals)
		}
		if total += locals; total > maxLocals {
			body.fail(ErrTooLarge, "more than %d locals in all functions", maxLocals)
		}
		if r.err == nil {
			r.err = body.err
		}
		if r.err != nil {
			return
		}
	}
}

func (m *binary) readData(r *reader) {
	for range r.count("data segments", maxSegments) {
		switch form := r.u32(); form {
		case 0:
			r.constant()
		case 1:
		case 2:
			r.u32()
			r.constant()
		default:
			r.fail(ErrMalformed, "data segment of form %d", form)
		}
		size := r.u32()
		r.skip(int(min(uint64(size), uint64(len(r.b))+1)))
		if r.err != nil {
			return
		}
	}
}

// WithoutCustom returns wasm, which Inspect has accepted, without its custom sections. They hold names and
// debug information; compilers parse them and rely on their counts.
func WithoutCustom(wasm []byte) []byte {
	out := append(make([]byte, 0, len(wasm)), wasm[:8]...)
	r := &reader{b: wasm[8:], at: 8}
	for len(r.b) > 0 && r.err == nil {
		begin := r.b
		id := r.byte()
		r.skip(int(r.u32()))
		if id != sectionCustom {
			out = append(out, begin[:len(begin)-len(r.b)]...)
		}
	}
	return out
}
