package record

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

type gzipReader struct {
	in bytes.Reader
	zr gzip.Reader
}

var (
	gzipWriters = sync.Pool{New: func() any { return &frameWriter{zw: gzip.NewWriter(nil)} }}
	gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}
)

func compressGzip(dst, src []byte) ([]byte, error) {
	w := gzipWriters.Get().(*frameWriter)
	defer gzipWriters.Put(w)
	return w.compress(dst, src)
}

func decompressGzip(dst, src []byte, limit int) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer gzipReaders.Put(r)
	defer r.in.Reset(nil)
	open := func() (io.Reader, error) {
		r.in.Reset(src)
		return &r.zr, r.zr.Reset(&r.in)
	}
	return readBounded(dst, open, firstGuess(len(src), limit), limit)
}
