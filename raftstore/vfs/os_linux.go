package vfs

import (
	"io"

	"golang.org/x/sys/unix"
)

// maxIovecs is the kernel's limit (UIO_MAXIOV) of buffers in one pwritev.
const maxIovecs = 1024

func fallocate(fd int, size int64) error { return unix.Fallocate(fd, 0, 0, size) }

func (f *osFile) SyncData() error { return f.control("fdatasync", unix.Fdatasync) }

func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	written, total := 0, totalLen(bufs)
	for written < total {
		// The common case hands the caller's slice on as it is; only more buffers than fit in one call,
		// or a short write, make a copy.
		pending := bufs
		if written > 0 || len(bufs) > maxIovecs {
			pending = pendingBufs(bufs, written)
		}
		n := 0
		err := f.control("pwritev", func(fd int) (err error) {
			n, err = unix.Pwritev(fd, pending, off+int64(written))
			return err
		})
		if err != nil {
			return written, err
		}
		if n == 0 {
			return written, io.ErrShortWrite
		}
		written += n
	}
	return written, nil
}

// pendingBufs is what of bufs follows the first skip bytes, at most maxIovecs buffers.
func pendingBufs(bufs [][]byte, skip int) [][]byte {
	out := make([][]byte, 0, min(len(bufs), maxIovecs))
	for _, b := range bufs {
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		out = append(out, b[skip:])
		skip = 0
		if len(out) == maxIovecs {
			break
		}
	}
	return out
}
