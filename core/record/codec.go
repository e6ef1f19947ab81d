package record

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Codec is a compression of the records of a batch, by Kafka's number.
type Codec uint8

// The codecs there are.
const (
	CodecNone Codec = iota
	CodecGzip
	CodecSnappy
	CodecLZ4
	CodecZstd
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// String is the codec's name as configurations write it.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// ParseCodec is the inverse of String; ErrCodec for other names.
func ParseCodec(name string) (Codec, error) {
	if i := slices.Index(codecNames[:], name); i >= 0 {
		return Codec(i), nil
	}
	return CodecNone, fmt.Errorf("%w: %q, known are %v", ErrCodec, name, codecNames)
}

// compress appends src, compressed, to dst.
func compress(dst []byte, codec Codec, src []byte) ([]byte, error) {
	switch codec {
	case CodecNone:
		return append(dst, src...), nil
	case CodecGzip:
		return compressGzip(dst, src)
	case CodecSnappy:
		return compressSnappy(dst, src)
	case CodecLZ4:
		return compressLZ4(dst, src)
	case CodecZstd:
		return compressZstd(dst, src)
	}
	return dst, fmt.Errorf("%w: number %d", ErrCodec, codec)
}

// decompress fills dst, whose contents do not matter, with what src holds, limit bytes at most, and
// returns it, reallocated if its capacity did not suffice. Memory beyond dst is taken step by step
// as bytes come out, up to a small factor of limit. Errors: ErrCompressed,
// ErrDecompressedTooLarge. On error too the result is dst or its larger successor.
func decompress(dst []byte, codec Codec, src []byte, limit int) ([]byte, error) {
	switch codec {
	case CodecGzip:
		return decompressGzip(dst, src, limit)
	case CodecSnappy:
		return decompressSnappy(dst, src, limit)
	case CodecLZ4:
		return decompressLZ4(dst, src, limit)
	case CodecZstd:
		return decompressZstd(dst, src, limit)
	}
	return dst, fmt.Errorf("%w: number %d", ErrCodec, codec)
}

// firstGuess is how much memory is allocated for n compressed bytes before their content is known.
func firstGuess(n, limit int) int { return min(max(4*n, 4<<10), limit+1) }

// corrupt wraps why bytes cannot be decompressed.
func corrupt(err error) error { return fmt.Errorf("%w: %w", ErrCompressed, err) }

// measureFrom is how many bytes are read into memory that grows with them. The length of a longer stream is
// measured first, without memory for it, so that a stream over the limit costs only time.
const measureFrom = 4 << 20

// readBounded reads what open returns to its end into dst's memory and beyond, as decompress promises. It
// may open it a second time. One byte more than limit is asked for, to distinguish a stream that ends at
// the limit from a longer one.
func readBounded(dst []byte, open func() (io.Reader, error), guess, limit int) ([]byte, error) {
	r, err := open()
	if err != nil {
		return dst, corrupt(err)
	}
	dst = dst[:0]
	if cap(dst) == 0 {
		dst = make([]byte, 0, guess)
	}
	most := min(limit+1, max(cap(dst), measureFrom))
	for idle := 0; idle < 100 && len(dst) < most; idle++ {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(cap(dst), most-len(dst)))
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), most)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return dst, ErrDecompressedTooLarge
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, corrupt(err)
		case n > 0:
			idle = 0
		}
	}
	if len(dst) < most {
		return dst, corrupt(io.ErrNoProgress)
	}
	rest, err := io.CopyN(io.Discard, r, int64(limit+1-len(dst)))
	switch {
	case err == nil:
		return dst, ErrDecompressedTooLarge
	case !errors.Is(err, io.EOF):
		return dst, corrupt(err)
	}
	return readMeasured(open, len(dst)+int(rest))
}

// readMeasured reads a stream of known length.
func readMeasured(open func() (io.Reader, error), size int) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, corrupt(err)
	}
	dst := make([]byte, size)
	if _, err := io.ReadFull(r, dst); err != nil {
		return dst[:0], corrupt(err)
	}
	return dst, nil
}

// frameWriter appends compressed frames to slices. Not for concurrent use.
type frameWriter struct {
	out appendWriter
	zw  interface {
		io.WriteCloser
		Reset(io.Writer)
	}
}

// compress appends src as one frame to dst.
func (w *frameWriter) compress(dst, src []byte) ([]byte, error) {
	w.out.buf = dst
	w.zw.Reset(&w.out)
	_, err := w.zw.Write(src)
	if err == nil {
		err = w.zw.Close()
	}
	out := w.out.buf
	w.out.buf = nil
	return out, err
}

// appendWriter is an io.Writer onto a slice.
type appendWriter struct{ buf []byte }

func (w *appendWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	return len(p), nil
}
