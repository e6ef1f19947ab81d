// Package wasmtest builds small WebAssembly modules for tests, good ones and bad ones, without a
// toolchain.
package wasmtest

// Code assembles a function body. Methods append one instruction each and return their receiver.
type Code struct{ b []byte }

func (c *Code) op(b ...byte) *Code {
	c.b = append(c.b, b...)
	return c
}

func (c *Code) index(op byte, i int) *Code {
	c.b = appendU(append(c.b, op), uint64(i))
	return c
}

func (c *Code) memory(op byte, align byte, offset int) *Code {
	c.b = appendU(append(c.b, op, align), uint64(offset))
	return c
}

// Get pushes a local. Locals are counted from the parameters on.
func (c *Code) Get(local int) *Code { return c.index(0x20, local) }

// Set pops a local's value.
func (c *Code) Set(local int) *Code { return c.index(0x21, local) }

// Tee stores a local's value and leaves it on the stack.
func (c *Code) Tee(local int) *Code { return c.index(0x22, local) }

// GlobalGet pushes a global.
func (c *Code) GlobalGet(i int) *Code { return c.index(0x23, i) }

// GlobalSet pops a global's value.
func (c *Code) GlobalSet(i int) *Code { return c.index(0x24, i) }

// I32 pushes a constant.
func (c *Code) I32(v int32) *Code {
	c.b = appendS(append(c.b, 0x41), int64(v))
	return c
}

// I64 pushes a constant.
func (c *Code) I64(v int64) *Code {
	c.b = appendS(append(c.b, 0x42), v)
	return c
}

// Load32 loads an i32 from the address on the stack plus offset, as all loads and stores do.
func (c *Code) Load32(offset int) *Code { return c.memory(0x28, 2, offset) }

// Load8 loads one byte, zero-extended.
func (c *Code) Load8(offset int) *Code { return c.memory(0x2d, 0, offset) }

// Store32 stores an i32.
func (c *Code) Store32(offset int) *Code { return c.memory(0x36, 2, offset) }

// Store8 stores the low byte of an i32.
func (c *Code) Store8(offset int) *Code { return c.memory(0x3a, 0, offset) }

// Instructions on i32 unless their name says otherwise; comparisons are unsigned.

// Eq pushes a == b.
func (c *Code) Eq() *Code { return c.op(0x46) }

// Eqz pushes a == 0.
func (c *Code) Eqz() *Code { return c.op(0x45) }

// Gt pushes a > b.
func (c *Code) Gt() *Code { return c.op(0x4b) }

// Ge pushes a >= b.
func (c *Code) Ge() *Code { return c.op(0x4f) }

// Add pushes a + b.
func (c *Code) Add() *Code { return c.op(0x6a) }

// Sub pushes a - b.
func (c *Code) Sub() *Code { return c.op(0x6b) }

// Mul pushes a * b.
func (c *Code) Mul() *Code { return c.op(0x6c) }

// And pushes a & b.
func (c *Code) And() *Code { return c.op(0x71) }

// Shr pushes a >> b.
func (c *Code) Shr() *Code { return c.op(0x76) }

// Or64 pushes a | b of two i64.
func (c *Code) Or64() *Code { return c.op(0x84) }

// Shl64 pushes a << b of two i64.
func (c *Code) Shl64() *Code { return c.op(0x86) }

// Eq64 pushes a == b of two i64.
func (c *Code) Eq64() *Code { return c.op(0x51) }

// Extend makes an i64 of an i32.
func (c *Code) Extend() *Code { return c.op(0xad) }

// Control.

// Block opens a block without a result.
func (c *Code) Block() *Code { return c.op(0x02, 0x40) }

// Loop opens a loop without a result.
func (c *Code) Loop() *Code { return c.op(0x03, 0x40) }

// If opens a conditional without a result.
func (c *Code) If() *Code { return c.op(0x04, 0x40) }

// End closes what is open.
func (c *Code) End() *Code { return c.op(0x0b) }

// Br branches out of depth enclosing blocks, or back to a loop.
func (c *Code) Br(depth int) *Code { return c.index(0x0c, depth) }

// BrIf branches when the popped value is not 0.
func (c *Code) BrIf(depth int) *Code { return c.index(0x0d, depth) }

// Return leaves the function.
func (c *Code) Return() *Code { return c.op(0x0f) }

// Call calls a function by index, imports first.
func (c *Code) Call(f int) *Code { return c.index(0x10, f) }

// Unreachable traps.
func (c *Code) Unreachable() *Code { return c.op(0x00) }

// Drop pops a value.
func (c *Code) Drop() *Code { return c.op(0x1a) }

// MemorySize pushes the memory's size in pages.
func (c *Code) MemorySize() *Code { return c.op(0x3f, 0) }

// MemoryGrow grows the memory by pages and pushes its old size or -1.
func (c *Code) MemoryGrow() *Code { return c.op(0x40, 0) }

// MemoryFill fills address, byte, length.
func (c *Code) MemoryFill() *Code { return c.op(0xfc, 11, 0) }

func appendU(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
