package httpapi

import (
	"math/bits"
	"sync"
)

// Buffers come in powers of two from 4 KiB on. A buffer that outgrew the largest class is left to
// the garbage collector.
const (
	minClassBits = 12
	maxClassBits = 26
	classes      = maxClassBits - minClassBits + 1
)

// buffer is a pooled byte slice. It has one owner at a time, who calls free once.
type buffer struct {
	b []byte
}

var bufferPools [classes]sync.Pool

// classOf is the smallest class that holds n bytes; it may be beyond the last one that is pooled.
func classOf(n int) int {
	if n <= 1<<minClassBits {
		return 0
	}
	return bits.Len(uint(n-1)) - minClassBits
}

func classSize(class int) int { return 1 << (class + minClassBits) }

// newBuffer gives an empty buffer with room for n bytes.
func newBuffer(n int) *buffer {
	class := classOf(n)
	if class < classes {
		if v, ok := bufferPools[class].Get().(*buffer); ok {
			return v
		}
	}
	return &buffer{b: make([]byte, 0, classSize(class))}
}

// free gives the buffer back; its bytes must not be used afterwards.
func (b *buffer) free() {
	// The largest class that the capacity fills: append may have grown it to any size.
	class := bits.Len(uint(cap(b.b))) - 1 - minClassBits
	if class < 0 || class >= classes {
		return
	}
	b.b = b.b[:0]
	bufferPools[class].Put(b)
}
