// Package boltfile opens bbolt files through an injectable file system.
//
// bbolt maps its file into memory and writes pages by itself, so it needs an *os.File and none of its
// single reads and writes can be intercepted. What can be made to fail are the opening, the directory's
// sync and each commit as a whole: see vfs.FS.OpenMapped and CommitMapped.
package boltfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Mode is the mode of a file that is made.
const Mode fs.FileMode = 0o600

// lockTimeout is how long an opening waits for another process to close the file.
const lockTimeout = time.Second

// Options open a file of fsys.
func Options(fsys vfs.FS) *bbolt.Options {
	return &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, OpenFile: fsys.OpenMapped}
}

// OpenError explains an error of bbolt's Open.
func OpenError(name string, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%s is open in another process: stop that one first", name)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// SyncName makes the name of a file that may be new durable.
func SyncName(fsys vfs.FS, name string) error { return fsys.SyncDir(path.Dir(name)) }
