package vfs

import "errors"

// syncFailer is a file that can forget its unsynced data as after a failed write-back.
type syncFailer interface{ failSync() }

type faultyFile struct {
	fsys  *Faulty
	inner File
}

func (f *faultyFile) before(op Op) error {
	op.Name = f.inner.Name()
	if err := f.fsys.before(op); err != nil {
		return pathError(op, err)
	}
	return nil
}

func (f *faultyFile) Name() string { return f.inner.Name() }

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.before(Op{Kind: OpRead, Offset: off, Length: int64(len(p))}); err != nil {
		return 0, err
	}
	return f.inner.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.before(Op{Kind: OpWrite, Offset: off, Length: int64(len(p))})
	if err == nil {
		return f.inner.WriteAt(p, off)
	}
	return f.shortWrite([][]byte{p}, off, err)
}

func (f *faultyFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	err := f.before(Op{Kind: OpWrite, Offset: off, Length: int64(totalLen(bufs))})
	if err == nil {
		return f.inner.WritevAt(bufs, off)
	}
	return f.shortWrite(bufs, off, err)
}

// shortWrite writes what the hook lets through, if anything, and returns the hook's error.
func (f *faultyFile) shortWrite(bufs [][]byte, off int64, err error) (int, error) {
	var short *ShortWrite
	if !errors.As(err, &short) {
		return 0, err
	}
	left, written := min(short.N, totalLen(bufs)), 0
	for _, b := range bufs {
		part := b[:min(left, len(b))]
		n, writeErr := f.inner.WriteAt(part, off+int64(written))
		written += n
		left -= n
		if writeErr != nil {
			return written, writeErr
		}
		if left == 0 {
			break
		}
	}
	return written, err
}

func (f *faultyFile) Allocate(size int64) error {
	if err := f.before(Op{Kind: OpAllocate, Length: size}); err != nil {
		return err
	}
	return f.inner.Allocate(size)
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.before(Op{Kind: OpTruncate, Length: size}); err != nil {
		return err
	}
	return f.inner.Truncate(size)
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.before(Op{Kind: OpSize}); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

func (f *faultyFile) Sync() error { return f.sync(OpSync, f.inner.Sync) }

func (f *faultyFile) SyncData() error { return f.sync(OpSyncData, f.inner.SyncData) }

func (f *faultyFile) sync(kind OpKind, sync func() error) error {
	err := f.before(Op{Kind: kind})
	if err == nil {
		return sync()
	}
	if inner, ok := f.inner.(syncFailer); ok && !errors.Is(err, ErrKilled) {
		inner.failSync()
	}
	return err
}

// Close closes the inner file even when the hook fails the operation, as the descriptor is gone after
// a failed close.
func (f *faultyFile) Close() error {
	err := f.before(Op{Kind: OpClose})
	return errors.Join(err, f.inner.Close())
}
