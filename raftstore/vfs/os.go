package vfs

import (
	"errors"
	"io/fs"
	"os"
	"sync"
)

// Modes of all files and directories that are made: only the owner reads a broker's data.
const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

type osFS struct{}

// OS is the operating system's file system.
func OS() FS { return osFS{} }

func (osFS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (osFS) Open(name string) (File, error) { return openOS(name, os.O_RDWR) }

func (osFS) OpenReadOnly(name string) (File, error) { return openOS(name, os.O_RDONLY) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) RemoveAll(name string) error { return os.RemoveAll(name) }

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, dirMode) }

func (osFS) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }

func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (osFS) OpenMapped(name string, flag int, mode fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, mode)
}

func (osFS) CommitMapped(_ string, commit func() error) error { return commit() }

// osFile adds to os.File what the standard library does not reach. The descriptor is taken out once, as
// going through os.File.SyscallConn costs allocations with every append. Files of a file system are not
// in the poller, so that the descriptor blocks as it should.
type osFile struct {
	*os.File

	mu sync.RWMutex // held for reading during a system call on fd, which Close waits for
	fd int          // -1 when closed: the number may be another file's by then
}

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f, fd: int(f.Fd())}, nil
}

// Close waits for the calls that are under way; later ones fail with fs.ErrClosed.
func (f *osFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fd = -1
	return f.File.Close()
}

func (f *osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f *osFile) Allocate(size int64) error {
	if size <= 0 {
		return nil
	}
	err := f.control("fallocate", func(fd int) error { return fallocate(fd, size) })
	if errors.Is(err, errors.ErrUnsupported) {
		return f.allocateByWriting(size)
	}
	return err
}

// allocateByWriting is for file systems without fallocate. It fills what lies beyond the end; a hole
// before the end stays one, which only a caller that made it could mind.
func (f *osFile) allocateByWriting(size int64) error {
	const piece = 1 << 20
	end, err := f.Size()
	if err != nil {
		return err
	}
	zeros := make([]byte, min(piece, max(0, size-end)))
	for end < size {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-end)], end)
		if err != nil {
			return err
		}
		end += int64(n)
	}
	return nil
}

// control runs a system call on the descriptor, again when a signal interrupts it. call does not escape:
// a closure for it stays on its maker's stack.
func (f *osFile) control(op string, call func(fd int) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return &fs.PathError{Op: op, Path: f.Name(), Err: fs.ErrClosed}
	}
	fd := f.fd
	if err := retryInterrupted(func() error { return call(fd) }); err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}
