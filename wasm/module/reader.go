package module

import "fmt"

// reader walks a section's bytes. It keeps the first error: every read after it returns zero, so that
// parsing code checks once at the end of each entry.
type reader struct {
	b   []byte
	at  int // offset of b[0] in the binary, for errors
	err error
}

func (r *reader) fail(cause error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: byte %d: %s", cause, r.at, fmt.Sprintf(format, args...))
		r.b = nil
	}
}

func (r *reader) skip(n int) []byte {
	if n > len(r.b) {
		r.fail(ErrTruncated, "%d bytes are needed and %d are left; upload the file again", n, len(r.b))
		return nil
	}
	b := r.b[:n]
	r.b, r.at = r.b[n:], r.at+n
	return b
}

func (r *reader) byte() byte {
	if b := r.skip(1); b != nil {
		return b[0]
	}
	return 0
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if v > 0xffffffff {
				break
			}
			return uint32(v)
		}
	}
	r.fail(ErrMalformed, "a number is longer than 32 bits")
	return 0
}

// count reads the number of entries that follow. Each entry takes at least one byte, so a number above
// that of the bytes left is wrong; it is refused before anything is allocated for it.
func (r *reader) count(what string, limit int) int {
	n := r.u32()
	switch {
	case r.err != nil:
		return 0
	case uint64(n) > uint64(len(r.b)):
		r.fail(ErrMalformed, "%d %s are announced in %d bytes", n, what, len(r.b))
		return 0
	case uint64(n) > uint64(limit):
		r.fail(ErrTooLarge, "%d %s, the limit is %d", n, what, limit)
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	n := r.u32()
	const limit = 1024
	if n > limit {
		r.fail(ErrTooLarge, "a name of %d bytes, the limit is %d", n, limit)
		return ""
	}
	return string(r.skip(int(n)))
}
