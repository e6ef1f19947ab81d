package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
)

// OpKind names an operation of FS or File.
type OpKind string

// The operations that a Hook sees.
const (
	OpCreate    OpKind = "create"
	OpOpen      OpKind = "open"
	OpRemove    OpKind = "remove"
	OpRemoveAll OpKind = "remove-all"
	OpRename    OpKind = "rename"
	OpMkdirAll  OpKind = "mkdir-all"
	OpReadDir   OpKind = "read-dir"
	OpStat      OpKind = "stat"
	OpSyncDir   OpKind = "sync-dir"
	OpLock      OpKind = "lock"
	OpFreeBytes OpKind = "free-bytes"
	OpRead      OpKind = "read"
	OpWrite     OpKind = "write"
	OpAllocate  OpKind = "allocate"
	OpTruncate  OpKind = "truncate"
	OpSize      OpKind = "size"
	OpSync      OpKind = "sync"
	OpSyncData  OpKind = "sync-data"
	OpClose     OpKind = "close"
)

// Op is one operation about to happen.
type Op struct {
	Kind OpKind
	// Name is the file's or directory's path; for a rename it is the source and To the target.
	Name, To string
	// Offset and Length are in bytes: of a read or write; Length alone is the size of an allocate or
	// truncate.
	Offset, Length int64
	// Seq counts the operations of this Faulty from 1.
	Seq uint64
}

// Mutates reports whether the operation changes files or directories, or makes changes durable.
func (o Op) Mutates() bool {
	switch o.Kind {
	case OpCreate, OpRemove, OpRemoveAll, OpRename, OpMkdirAll, OpSyncDir, OpLock,
		OpWrite, OpAllocate, OpTruncate, OpSync, OpSyncData:
		return true
	}
	return false
}

// Hook decides about each operation before it happens: nil lets it happen, a *ShortWrite lets a part of a write
// happen, any other error is returned instead. Hooks run one at a time and must not use the Faulty that they
// belong to.
type Hook func(Op) error

// ShortWrite is a Hook's error that lets only the first N bytes of a write happen. The write then returns N
// and Err.
type ShortWrite struct {
	N   int
	Err error
}

func (s *ShortWrite) Error() string { return "short write: " + s.Err.Error() }

func (s *ShortWrite) Unwrap() error { return s.Err }

// FailAt is a Hook that fails operation k alone (counted from 1).
func FailAt(k uint64, err error) Hook {
	return func(op Op) error {
		if op.Seq == k {
			return err
		}
		return nil
	}
}

// FailFrom is a Hook that fails operation k and all that follow: nothing reaches the disk any more,
// as if the machine had stopped there.
func FailFrom(k uint64, err error) Hook {
	return func(op Op) error {
		if op.Seq >= k {
			return err
		}
		return nil
	}
}

// ErrKilled is the error of a Hook that stands for a killed process: nothing more is done, but the kernel keeps
// what was written, and a later sync by another process makes it durable.
var ErrKilled = errors.New("process killed")

// Faulty wraps an FS and asks a Hook before each operation. A sync that the hook fails also drops the
// unsynced data of a Mem file from what can become durable, as Linux marks pages clean after a failed
// write-back: a caller that just syncs again and believes the answer loses data. A sync that fails with
// ErrKilled was not tried, and drops nothing.
type Faulty struct {
	inner FS

	mu   sync.Mutex // covers the fields below; held while the hook runs, not during the operation
	hook Hook
	seq  uint64
}

// NewFaulty wraps inner; a nil hook only counts.
func NewFaulty(inner FS, hook Hook) *Faulty { return &Faulty{inner: inner, hook: hook} }

// SetHook replaces the hook; the count goes on.
func (f *Faulty) SetHook(h Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = h
}

// Ops is the number of operations so far.
func (f *Faulty) Ops() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seq
}

func (f *Faulty) before(op Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	op.Seq = f.seq
	if f.hook == nil {
		return nil
	}
	return f.hook(op)
}

func (f *Faulty) Create(name string) (File, error) {
	return f.open(Op{Kind: OpCreate, Name: name}, f.inner.Create)
}

func (f *Faulty) Open(name string) (File, error) {
	return f.open(Op{Kind: OpOpen, Name: name}, f.inner.Open)
}

func (f *Faulty) OpenReadOnly(name string) (File, error) {
	return f.open(Op{Kind: OpOpen, Name: name}, f.inner.OpenReadOnly)
}

func (f *Faulty) open(op Op, open func(string) (File, error)) (File, error) {
	if err := f.before(op); err != nil {
		return nil, pathError(op, err)
	}
	file, err := open(op.Name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{fsys: f, inner: file}, nil
}

func (f *Faulty) Remove(name string) error {
	op := Op{Kind: OpRemove, Name: name}
	if err := f.before(op); err != nil {
		return pathError(op, err)
	}
	return f.inner.Remove(name)
}

func (f *Faulty) RemoveAll(name string) error {
	op := Op{Kind: OpRemoveAll, Name: name}
	if err := f.before(op); err != nil {
		return pathError(op, err)
	}
	return f.inner.RemoveAll(name)
}

func (f *Faulty) Rename(from, to string) error {
	op := Op{Kind: OpRename, Name: from, To: to}
	if err := f.before(op); err != nil {
		return pathError(op, err)
	}
	return f.inner.Rename(from, to)
}

func (f *Faulty) MkdirAll(dir string) error {
	op := Op{Kind: OpMkdirAll, Name: dir}
	if err := f.before(op); err != nil {
		return pathError(op, err)
	}
	return f.inner.MkdirAll(dir)
}

func (f *Faulty) ReadDir(dir string) ([]fs.DirEntry, error) {
	op := Op{Kind: OpReadDir, Name: dir}
	if err := f.before(op); err != nil {
		return nil, pathError(op, err)
	}
	return f.inner.ReadDir(dir)
}

func (f *Faulty) Stat(name string) (fs.FileInfo, error) {
	op := Op{Kind: OpStat, Name: name}
	if err := f.before(op); err != nil {
		return nil, pathError(op, err)
	}
	return f.inner.Stat(name)
}

func (f *Faulty) SyncDir(dir string) error {
	op := Op{Kind: OpSyncDir, Name: dir}
	if err := f.before(op); err != nil {
		return pathError(op, err)
	}
	return f.inner.SyncDir(dir)
}

func (f *Faulty) Lock(name string) (io.Closer, error) {
	op := Op{Kind: OpLock, Name: name}
	if err := f.before(op); err != nil {
		return nil, pathError(op, err)
	}
	return f.inner.Lock(name)
}

func (f *Faulty) FreeBytes(dir string) (uint64, error) {
	op := Op{Kind: OpFreeBytes, Name: dir}
	if err := f.before(op); err != nil {
		return 0, pathError(op, err)
	}
	return f.inner.FreeBytes(dir)
}

// OpenMapped asks the hook once, about OpCreate if flag has os.O_CREATE and OpOpen if not. What is read
// and written through the handle does not come by here.
func (f *Faulty) OpenMapped(name string, flag int, mode fs.FileMode) (*os.File, error) {
	op := Op{Kind: OpOpen, Name: name}
	if flag&os.O_CREATE != 0 {
		op.Kind = OpCreate
	}
	if err := f.before(op); err != nil {
		return nil, pathError(op, err)
	}
	return f.inner.OpenMapped(name, flag, mode)
}

// CommitMapped asks the hook about OpWrite before the commit, and about OpSync after one that succeeded.
// An error of the first leaves the file as it was. An error of the second is returned although the
// change is in the file, as when the sync at the end of a commit fails.
func (f *Faulty) CommitMapped(name string, commit func() error) error {
	op := Op{Kind: OpWrite, Name: name}
	if err := f.before(op); err != nil {
		return pathError(op, err)
	}
	if err := f.inner.CommitMapped(name, commit); err != nil {
		return err
	}
	op = Op{Kind: OpSync, Name: name}
	if err := f.before(op); err != nil {
		return pathError(op, err)
	}
	return nil
}

func pathError(op Op, err error) error {
	return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: err}
}
