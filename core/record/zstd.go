package record

import (
	"bytes"
	"io"
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
	// The cap limit keeps DecodeAll within the memory that it is given: that is the bound.
	dec, err := zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderConcurrency(0))
	if err != nil {
		panic("record: zstd refuses constant options: " + err.Error())
	}
	return zstdCodec{enc: enc, dec: dec}
})

func compressZstd(dst, src []byte) ([]byte, error) {
	return zstdShared().enc.EncodeAll(src, dst), nil
}

// maxZstdWindow is the window that every decoder must support (RFC 8878, 3.1.1.1.2). A decoder takes
// that much memory because a frame asks for it, so larger ones are refused.
const maxZstdWindow = 8 << 20

// zstdStreams are decoders that take frames of unknown size piece by piece. With a concurrency of 1 they
// start no goroutines and need not be closed.
var zstdStreams = sync.Pool{New: func() any {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		panic("record: zstd refuses constant options: " + err.Error())
	}
	return dec
}}

// decompressZstd decodes in one call into memory of the size that the frame announces. A frame without its
// size, as stream encoders write it, or with a wrong one is read as a stream: DecodeAll cannot
// distinguish too little memory from damage.
func decompressZstd(dst, src []byte, limit int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return dst, corrupt(err)
	}
	if h.HasFCS && h.FrameContentSize > uint64(limit) {
		return dst, ErrDecompressedTooLarge
	}
	// A block of 128 KiB takes four bytes at least: no memory is allocated for a size beyond that.
	if h.HasFCS && h.FrameContentSize <= uint64(len(src))<<15 {
		size := int(h.FrameContentSize)
		if cap(dst) < size {
			dst = make([]byte, 0, size)
		}
		if out, err := zstdShared().dec.DecodeAll(src, dst[:0:size]); err == nil {
			return out, nil
		}
	}
	dec := zstdStreams.Get().(*zstd.Decoder)
	defer zstdStreams.Put(dec)
	defer func() { _ = dec.Reset(nil) }() // drops the reference to src; it cannot fail
	open := func() (io.Reader, error) { return dec, dec.Reset(bytes.NewReader(src)) }
	return readBounded(dst, open, firstGuess(len(src), limit), limit)
}
