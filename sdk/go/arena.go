package wasmill

const (
	firstChunk = 64 << 10
	// retainedBytes is how much of the arena is kept after a call. What a rare large batch took
	// beyond it is freed.
	retainedBytes = 4 << 20
)

// arena holds the bytes that actions point to. Its chunks never move, so an address stays
// valid until the reset at the start of the next call; they are reused from call to call.
type arena struct {
	space  *space
	chunks []chunk
	at     int // index of the chunk being filled
}

type chunk struct {
	buf  []byte // length = bytes used
	base uint32 // address of buf[0]
}

func (a *arena) reset() {
	kept, total := 0, 0
	for i := range a.chunks {
		if total += cap(a.chunks[i].buf); total > retainedBytes && i > 0 {
			break
		}
		a.chunks[i].buf = a.chunks[i].buf[:0]
		kept++
	}
	for i := kept; i < len(a.chunks); i++ {
		a.space.release(a.chunks[i].base)
		a.chunks[i] = chunk{}
	}
	a.chunks, a.at = a.chunks[:kept], 0
}

// take returns n bytes of unspecified content and their address.
func (a *arena) take(n int) ([]byte, uint32) {
	for ; a.at < len(a.chunks); a.at++ {
		c := &a.chunks[a.at]
		if used := len(c.buf); n <= cap(c.buf)-used {
			c.buf = c.buf[:used+n]
			return c.buf[used : used+n : used+n], c.base + uint32(used)
		}
	}
	size := firstChunk << min(len(a.chunks), 4)
	buf := make([]byte, n, max(n, size))
	base := a.space.place(buf[:cap(buf)])
	a.chunks = append(a.chunks, chunk{buf: buf, base: base})
	return buf[:n:n], base
}

func (a *arena) copy(b []byte) uint32 {
	dst, address := a.take(len(b))
	copy(dst, b)
	return address
}
