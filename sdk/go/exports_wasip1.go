//go:build wasip1

package wasmill

import "unsafe"

var (
	instance guest
	// incoming is the memory that the broker writes configs and batches to. Words, so that
	// it is 8-aligned.
	incoming []uint64
)

//go:wasmexport wasmill_alloc
func alloc(n uint32) unsafe.Pointer {
	if words := (int(n) + 7) / 8; words > len(incoming) || incoming == nil {
		incoming = make([]uint64, max(words+words/4, 1024))
	}
	return unsafe.Pointer(&incoming[0])
}

//go:wasmexport wasmill_fields_v1
func fields() uint32 {
	instance.setUp(registered)
	return uint32(instance.fields())
}

//go:wasmexport wasmill_init_v1
func initialise(ptr unsafe.Pointer, n uint32) uint32 {
	instance.setUp(registered)
	if err := instance.init(unsafe.Slice((*byte)(ptr), n)); err != nil {
		Log(LevelError, "the configuration is refused: "+err.Error())
		return 1
	}
	return 0
}

//go:wasmexport wasmill_process_v1
func process(ptr unsafe.Pointer, n uint32) uint64 {
	if !instance.ready {
		instance.setUp(registered)
	}
	return instance.process(unsafe.Slice((*byte)(ptr), n), uint32(uintptr(ptr)))
}
