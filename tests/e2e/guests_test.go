package e2e

import "github.com/wasmill/wasmill/wasm/wasmtest"

// stamping is a module that gives every record the key stamp and leaves the rest as it is.
func stamping(stamp string) []byte {
	const stampAt, inputAt = 1024, 64 << 10
	const ptr, count, index, out = 0, 2, 3, 4 // locals: parameters 0 and 1, then these
	m := wasmtest.New().Data(stampAt, stamp)
	outAt := m.Global(0)
	m.Func("wasmill_fields_v1", "", wasmtest.I32, 0, func(c *wasmtest.Code) { c.I32(0) })
	m.Func("wasmill_alloc", wasmtest.I32, wasmtest.I32, 1, func(c *wasmtest.Code) {
		// The output lies behind the input; each record's descriptor of 48 bytes makes an action of 64.
		c.I32(inputAt + 8).Get(0).Add().I32(-8).And().GlobalSet(outAt)
		c.GlobalGet(outAt).Get(0).I32(3).Mul().Add().I32(16).Shr().I32(1).Add().Tee(1)
		c.MemorySize().Gt().If()
		c.Get(1).MemorySize().Sub().MemoryGrow().Drop()
		c.End()
		c.I32(inputAt)
	})
	m.Func("wasmill_process_v1", wasmtest.I32+wasmtest.I32, wasmtest.I64, 3, func(c *wasmtest.Code) {
		const kindEmitInheritingValueAndHeaders = 3 | (8+16)<<8
		c.Get(ptr).Load32(8).Set(count)
		c.GlobalGet(outAt).I32(16).Add().Set(out)
		c.Block().Loop()
		c.Get(index).Get(count).Ge().BrIf(1)
		c.Get(out).I32(0).I32(64).MemoryFill()
		c.Get(out).I32(kindEmitInheritingValueAndHeaders).Store32(0)
		c.Get(out).Get(index).Store32(4)
		c.Get(out).I32(stampAt).Store32(20)
		c.Get(out).I32(int32(len(stamp))).Store32(24)
		c.Get(out).I32(64).Add().Set(out)
		c.Get(index).I32(1).Add().Set(index)
		c.Br(0).End().End()
		c.GlobalGet(outAt).I32(16).Store32(0)
		c.GlobalGet(outAt).I32(64).Store32(4)
		c.GlobalGet(outAt).Get(count).Store32(8)
		c.GlobalGet(outAt).I32(0).Store32(12)
		c.GlobalGet(outAt).Extend().I64(32).Shl64()
		c.Get(out).GlobalGet(outAt).Sub().Extend().Or64()
	})
	return m.Bytes()
}
