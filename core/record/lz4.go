package record

import (
	"bytes"
	"io"
	"sync"

	"github.com/pierrec/lz4/v4"
)

type lz4Reader struct {
	in bytes.Reader
	zr *lz4.Reader
}

var (
	lz4Writers = sync.Pool{New: func() any { return newLZ4Writer() }}
	lz4Readers = sync.Pool{New: func() any { return &lz4Reader{zr: lz4.NewReader(nil)} }}
)

// newLZ4Writer makes frames as Kafka's Java client does: independent 64 KiB blocks, no content checksum,
// as the batch has its own.
func newLZ4Writer() *frameWriter {
	zw := lz4.NewWriter(nil)
	err := zw.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1))
	if err != nil {
		panic("record: lz4 refuses constant options: " + err.Error())
	}
	return &frameWriter{zw: zw}
}

func compressLZ4(dst, src []byte) ([]byte, error) {
	w := lz4Writers.Get().(*frameWriter)
	out, err := w.compress(dst, src)
	if err == nil {
		lz4Writers.Put(w) // one that failed may hold a broken frame
	}
	return out, err
}

func decompressLZ4(dst, src []byte, limit int) ([]byte, error) {
	r := lz4Readers.Get().(*lz4Reader)
	open := func() (io.Reader, error) {
		r.in.Reset(src)
		r.zr.Reset(&r.in)
		return r.zr, nil
	}
	out, err := readBounded(dst, open, firstGuess(len(src), limit), limit)
	if err == nil {
		r.in.Reset(nil)
		lz4Readers.Put(r) // a reader that stopped half way still holds a block of its frame
	}
	return out, err
}
