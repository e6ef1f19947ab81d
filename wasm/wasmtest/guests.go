package wasmtest

import "encoding/binary"

const (
	dataAt  = 1024     // constants
	inputAt = 64 << 10 // what alloc returns
)

// The functions of a module that newGuest makes, after imports.
type guest struct {
	*Module
	out    int // global: where the output goes, behind the input
	action int // function (out, kind, flags, record) -> out behind a zeroed action
}

// newGuest returns a module that can take input: wasmill_alloc gives out the same buffer again and again
// and grows the memory so that the output fits behind it.
func newGuest(m *Module) guest {
	g := guest{Module: m}
	g.out = m.Global(0)
	g.action = m.Func("", I32+I32+I32+I32, I32, 0, func(c *Code) {
		c.Get(0).I32(0).I32(64).MemoryFill()
		c.Get(0).Get(1).Store8(0)
		c.Get(0).Get(2).Store8(1)
		c.Get(0).Get(3).Store32(4)
		c.Get(0).I32(64).Add()
	})
	m.Func("wasmill_alloc", I32, I32, 1, func(c *Code) {
		c.I32(inputAt + 8).Get(0).Add().I32(-8).And().GlobalSet(g.out)
		// pages = (out + 6*n) / 64 KiB + 1: each descriptor of 48 bytes may make three actions of 64.
		c.GlobalGet(g.out).Get(0).I32(6).Mul().Add().I32(16).Shr().I32(1).Add().Tee(1)
		c.MemorySize().Gt().If()
		c.Get(1).MemorySize().Sub().MemoryGrow().Drop()
		c.End()
		c.I32(inputAt)
	})
	return g
}

// Locals of a process function made by each.
const (
	localPtr = iota
	localLen
	localCount
	localIndex
	localDesc
	localOut
	localA
	localB
	localC
)

// each exports a process function that runs body for every record and returns what it wrote.
func (g guest) each(body func(c *Code)) []byte {
	g.Func("wasmill_process_v1", I32+I32, I64, 7, func(c *Code) {
		c.Get(localPtr).Load32(8).Set(localCount)
		c.Get(localPtr).I32(48).Add().Set(localDesc)
		c.GlobalGet(g.out).I32(16).Add().Set(localOut)
		c.Block().Loop()
		c.Get(localIndex).Get(localCount).Ge().BrIf(1)
		body(c)
		c.Get(localDesc).I32(48).Add().Set(localDesc)
		c.Get(localIndex).I32(1).Add().Set(localIndex)
		c.Br(0).End().End()
		c.GlobalGet(g.out).I32(16).Store32(0)
		c.GlobalGet(g.out).I32(64).Store32(4)
		c.GlobalGet(g.out).Get(localOut).GlobalGet(g.out).Sub().I32(6).Shr().Store32(8)
		c.GlobalGet(g.out).I32(0).Store32(12)
		c.GlobalGet(g.out).Extend().I64(32).Shl64()
		c.Get(localOut).GlobalGet(g.out).Sub().Extend().Or64()
	})
	return g.Bytes()
}

func (g guest) act(c *Code, kind, flags int32) {
	c.Get(localOut).I32(kind).I32(flags).Get(localIndex).Call(g.action).Set(localOut)
}

// Identity keeps every record and asks for no field.
func Identity() []byte {
	g := newGuest(New())
	g.fields(0)
	return g.each(func(c *Code) { g.act(c, 1, 0) })
}

func (g guest) fields(mask int32) {
	g.Func("wasmill_fields_v1", "", I32, 0, func(c *Code) { c.I32(mask) })
}

// FilterValue keeps records whose value holds the byte 1, looking at every byte.
func FilterValue() []byte {
	g := newGuest(New())
	g.fields(2)
	return g.each(func(c *Code) {
		c.Get(localPtr).Get(localDesc).Load32(8).Add().Tee(localA)
		c.Get(localDesc).Load32(12).Add().Set(localB)
		c.Block().Loop()
		c.Get(localA).Get(localB).Ge().BrIf(1)
		c.Get(localA).Load8(0).I32(1).Eq().If()
		g.act(c, 1, 0)
		c.Br(2).End()
		c.Get(localA).I32(1).Add().Set(localA)
		c.Br(0).End().End()
	})
}

// FilterKey keeps records whose key begins with an odd byte and asks for the key alone.
func FilterKey() []byte {
	g := newGuest(New())
	g.fields(1)
	return g.each(func(c *Code) {
		c.Get(localPtr).Get(localDesc).Load32(0).Add().Load8(0).I32(1).And().If()
		g.act(c, 1, 0)
		c.End()
	})
}

// Texts that Commands uses.
const (
	CommandTopic   = "other"
	CommandMessage = "not wanted"
	CommandCode    = 7
	FailureMessage = "cannot go on"
)

// Commands follows byte at of each value (records with shorter or null values are kept):
//
//	d drop   r reject   e emit without the value's last byte   f keep and emit two copies
//	F emit two copies   x route to CommandTopic   c keep and route to partition 2 of CommandTopic
//	t trap   b fail the call   o name a record that is not there   others keep
func Commands(at int) []byte {
	m := New().Data(dataAt, CommandTopic).Data(dataAt+64, CommandMessage).Data(dataAt+128, FailureMessage)
	g := newGuest(m)
	const inherit = 4 + 8 + 16
	return g.each(func(c *Code) {
		c.I32('k').Set(localA)
		c.Get(localDesc).Load32(12).I32(1).Add().I32(int32(at + 1)).Gt().If()
		c.Get(localPtr).Get(localDesc).Load32(8).Add().Load8(at).Set(localA)
		c.End()
		c.Block()
		on := func(command byte, body func()) {
			c.Get(localA).I32(int32(command)).Eq().If()
			body()
			c.Br(1).End()
		}
		on('d', func() {})
		on('t', func() { c.Unreachable() })
		on('b', func() {
			c.I64(-1<<63 | (dataAt+128)<<32 | int64(len(FailureMessage))).Return()
		})
		on('r', func() {
			g.act(c, 4, 0)
			g.last(c, 56, dataAt+64)
			g.last(c, 60, int32(len(CommandMessage)))
			c.Get(localOut).I32(64).Sub().I32(CommandCode).Store8(2)
		})
		on('e', func() {
			g.act(c, 3, 4+16)
			c.Get(localOut).I32(64).Sub().Get(localPtr).Get(localDesc).Load32(8).Add().Store32(28)
			c.Get(localOut).I32(64).Sub().Get(localDesc).Load32(12).I32(1).Sub().Store32(32)
		})
		on('f', func() { g.act(c, 1, 0); g.act(c, 3, inherit); g.act(c, 3, inherit) })
		on('F', func() { g.act(c, 3, inherit); g.act(c, 3, inherit) })
		on('x', func() { g.act(c, 2, 0); g.topic(c) })
		on('c', func() { g.act(c, 1, 0); g.act(c, 2, 1); g.topic(c); g.last(c, 16, 2) })
		on('o', func() { g.act(c, 1, 0); c.Get(localOut).I32(64).Sub().Get(localCount).Store32(4) })
		g.act(c, 1, 0)
		c.End()
	})
}

// last sets a u32 of the action written last.
func (g guest) last(c *Code, at int, v int32) { c.Get(localOut).I32(64).Sub().I32(v).Store32(at) }

func (g guest) topic(c *Code) {
	g.last(c, 8, dataAt)
	g.last(c, 12, int32(len(CommandTopic)))
}

// Says answers every call with the same bytes, which it places at inputAt - 4096, and result; result 0
// stands for the address and length of the bytes.
func Says(answer []byte, result uint64) []byte {
	const at = 8 << 10
	if result == 0 {
		result = at<<32 | uint64(len(answer))
	}
	g := newGuest(New().Data(at, string(answer)))
	g.Func("wasmill_process_v1", I32+I32, I64, 0, func(c *Code) { c.I64(int64(result)) })
	return g.Bytes()
}

// Action returns the 64 bytes of an action without pointers.
func Action(kind, flags byte, record uint32) []byte {
	b := make([]byte, 64)
	b[0], b[1] = kind, flags
	binary.LittleEndian.PutUint32(b[4:], record)
	return b
}

// Answer returns an output block of actions.
func Answer(actions ...[]byte) []byte {
	b := make([]byte, 16)
	b[0], b[4], b[8] = 16, 64, byte(len(actions))
	for _, a := range actions {
		b = append(b, a...)
	}
	return b
}

// Parts of a guest that With replaces.
type Parts struct {
	Memory            [2]int // pages
	Alloc, Process    func(c *Code)
	Init, Fields      func(c *Code)
	Initialize        func(c *Code)
	Imports           [][4]string // module, name, params, results; functions 0, 1, ...
	Data              string      // at DataAt
	Tables            []int
	NoMemory, NoAlloc bool
	NoProcess         bool
}

// DataAt is where Parts.Data lies.
const DataAt = dataAt

// With builds a module from parts; parts that are missing follow the ABI, and the module drops every record.
func With(p Parts) []byte {
	m := New()
	if p.Memory[0] > 0 {
		m.Memory(p.Memory[0], p.Memory[1])
	}
	for _, i := range p.Imports {
		m.Import(i[0], i[1], i[2], i[3])
	}
	for _, t := range p.Tables {
		m.Table(t)
	}
	m.noMemory = p.NoMemory
	m.Data(512, string(Answer()))
	if p.NoMemory {
		m.data = nil
	}
	if p.Data != "" {
		m.Data(dataAt, p.Data)
	}
	def := func(code func(c *Code), otherwise func(c *Code)) func(c *Code) {
		if code != nil {
			return code
		}
		return otherwise
	}
	if !p.NoAlloc {
		m.Func("wasmill_alloc", I32, I32, 1, def(p.Alloc, func(c *Code) { c.I32(2048) }))
	}
	if !p.NoProcess {
		m.Func("wasmill_process_v1", I32+I32, I64, 1, def(p.Process, func(c *Code) { c.I64(512<<32 | 16) }))
	}
	if p.Init != nil {
		m.Func("wasmill_init_v1", I32+I32, I32, 1, p.Init)
	}
	if p.Fields != nil {
		m.Func("wasmill_fields_v1", "", I32, 0, p.Fields)
	}
	if p.Initialize != nil {
		m.Func("_initialize", "", "", 0, p.Initialize)
	}
	return m.Bytes()
}
