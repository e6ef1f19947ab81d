package record

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstdCodec is shared by all: EncodeAll and DecodeAll are safe for concurrent use, draw their state
// from pools within, and start no goroutines.
type zstdCodec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// zstdWindow is enough for the batches that clients make and keeps an encoder's tables small.
const zstdWindow = 256 << 10

var zstdShared = sync.OnceValue(func() zstdCodec {
	enc, err := zstd.NewWriter(nil, zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic("record: zstd refuses constant options: " + err.Error())
	}
	// The cap limit makes DecodeAll stop at the end of the memory it is given: that is the bound.
	dec, err := zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderConcurrency(0))
	if err != nil {
		panic("record: zstd refuses constant options: " + err.Error())
	}
	return zstdCodec{enc: enc, dec: dec}
})

func compressZstd(dst, src []byte) ([]byte, error) {
	return zstdShared().enc.EncodeAll(src, dst), nil
}

// decompressZstd decodes at one go into memory of a guessed size and begins anew with four times as
// much while that does not suffice, so that a small lie costs little and a bomb not over limit.
func decompressZstd(dst, src []byte, limit int) ([]byte, error) {
	size := max(cap(dst), firstGuess(len(src), limit))
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return dst, corrupt(err)
	}
	if h.HasFCS {
		if h.FrameContentSize > uint64(limit) {
			return dst, ErrDecompressedTooLarge
		}
		// A block of 128 KiB takes four bytes at least. A claim beyond that is left to the
		// decoder to refute, in memory of the guessed size.
		if h.FrameContentSize <= uint64(len(src))<<15 {
			size = max(size, int(h.FrameContentSize))
		}
	}
	for {
		size = min(size, limit+1)
		if cap(dst) < size {
			dst = make([]byte, 0, size)
		}
		out, err := zstdShared().dec.DecodeAll(src, dst[:0:size])
		switch {
		case len(out) > limit:
			return dst, ErrDecompressedTooLarge
		case err == nil:
			return out, nil
		case !errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return dst, corrupt(err)
		case size > limit:
			return dst, ErrDecompressedTooLarge
		}
		size *= 4
	}
}
