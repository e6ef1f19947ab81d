package record

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

type gzipWriter struct {
	out appendWriter
	zw  *gzip.Writer
}

type gzipReader struct {
	in bytes.Reader
	zr gzip.Reader
}

var (
	gzipWriters = sync.Pool{New: func() any { return &gzipWriter{zw: gzip.NewWriter(nil)} }}
	gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}
)

func compressGzip(dst, src []byte) ([]byte, error) {
	w := gzipWriters.Get().(*gzipWriter)
	defer gzipWriters.Put(w)
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
