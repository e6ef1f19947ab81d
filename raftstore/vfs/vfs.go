// Package vfs is the file system that everything with data on disk uses: a small interface, so that tests can
// lose unsynced bytes, fail any single call or fill the disk.
//
// OS is the operating system's. Mem keeps files in memory, knows which bytes and which directory entries were
// synced, and can be cloned into what a machine would find after a power loss. Faulty wraps another FS and
// fails chosen calls.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
)

// ErrLocked means that another owner, in this process or another, holds the lock.
var ErrLocked = errors.New("locked by another owner")

// FS is a file system. Paths are slash-separated and cleaned by the caller. All methods are safe for
// concurrent use. Errors satisfy errors.Is with fs.ErrNotExist, fs.ErrExist, fs.ErrPermission and
// syscall.ENOSPC where those apply.
type FS interface {
	// Create makes a new file for reading and writing; it fails with fs.ErrExist if the name is taken.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// OpenReadOnly opens an existing file for reading.
	OpenReadOnly(name string) (File, error)
	// Remove deletes a file or an empty directory; durable only after SyncDir of the parent.
	Remove(name string) error
	// RemoveAll deletes a tree; no error if it does not exist.
	RemoveAll(name string) error
	// Rename moves a file, replacing a file of the target's name, or a directory to a name that is free;
	// durable only after SyncDir of the parents.
	Rename(from, to string) error
	// MkdirAll makes a directory and its parents (mode 0700 for all that it makes).
	MkdirAll(dir string) error
	// ReadDir lists a directory's entries by name, sorted.
	ReadDir(dir string) ([]fs.DirEntry, error)
	// Stat describes a file.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the directory's entries (creations, renames, removals) durable.
	SyncDir(dir string) error
	// Lock takes an exclusive advisory lock on the named file, creating it; ErrLocked when another
	// process, or another Lock in this one, holds it. Closing the result releases it.
	Lock(name string) (io.Closer, error)
	// FreeBytes is how many bytes an unprivileged writer may still allocate below dir.
	FreeBytes(dir string) (uint64, error)
	// OpenMapped opens a file for a library that maps it into memory, and so needs the operating system's
	// own handle; flag and mode are os.OpenFile's. errors.ErrUnsupported where there are no such handles.
	OpenMapped(name string, flag int, mode fs.FileMode) (*os.File, error)
	// CommitMapped runs commit, in which such a library changes the named file and makes the change
	// durable, and returns its error. The library's single writes and syncs pass this FS by: a commit is
	// the smallest step that can be made to fail.
	CommitMapped(name string, commit func() error) error
}

// File is an open file. ReadAt and WriteAt are safe for concurrent use on ranges that do not overlap.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WritevAt writes the buffers back to back at off, as one pwritev where the system has it. It
	// consumes nothing of bufs: the slices keep their contents and bounds. Returns the bytes written.
	WritevAt(bufs [][]byte, off int64) (int, error)
	// Allocate reserves disk space for [0, size) and extends the file to it, so that later writes
	// inside cannot fail for want of space. Never shrinks.
	Allocate(size int64) error
	// Truncate sets the file's size.
	Truncate(size int64) error
	// Size is the file's size in bytes.
	Size() (int64, error)
	// Sync makes data and metadata durable (fsync).
	Sync() error
	// SyncData makes data durable, and of the metadata only what reading it back needs (fdatasync).
	SyncData() error
	// Name is the path that the file was opened under.
	Name() string
}

// MkdirAllSynced makes a directory and its parents so that they survive a power loss.
//
// It makes one level at a time, and makes each durable before the next: a process that is killed in between
// leaves at most one name that is not durable, that of the deepest directory. So the call that finds a
// directory syncs its parent too, although it made nothing there. A parent that this process may not read is
// passed over then: it could not have been synced by this process before either.
func MkdirAllSynced(fsys FS, dir string) error {
	dir = path.Clean(dir)
	parent := path.Dir(dir)
	if parent == dir { // "/" or "."
		return nil
	}
	_, err := fsys.Stat(dir)
	if err == nil {
		if err := fsys.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := MkdirAllSynced(fsys, parent); err != nil {
		return err
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}

// OpenDirSynced is MkdirAllSynced, and makes the names that the directory holds durable too: what a killed process
// renamed, made or removed there may be in memory only, and must not be relied on before it stays.
func OpenDirSynced(fsys FS, dir string) error {
	if err := MkdirAllSynced(fsys, dir); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// totalLen returns the number of bytes in bufs.
func totalLen(bufs [][]byte) int {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	return n
}
