//go:build !linux

package vfs

import "errors"

func fallocate(int, int64) error { return errors.ErrUnsupported }

func (f *osFile) SyncData() error { return f.Sync() }

func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	written := 0
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+int64(written))
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
