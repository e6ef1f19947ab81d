// Package boltfile opens bbolt files through an injectable file system, and keeps what bbolt does about
// damage and about failed syncs away from the process.
//
// bbolt maps its file into memory and writes pages by itself, so it needs an *os.File and none of its
// single reads and writes can be intercepted. What can be made to fail are every step of Prepare and each
// commit as a whole: see vfs.FS.OpenMapped and CommitMapped.
package boltfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Mode is the mode of a file that is made.
const Mode fs.FileMode = 0o600

// tempSuffix is of a file that is being made.
const tempSuffix = ".new"

// lockTimeout is how long an opening waits for another process to close the file.
const lockTimeout = time.Second

// Options open a file of fsys.
func Options(fsys vfs.FS) *bbolt.Options {
	return &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, OpenFile: fsys.OpenMapped}
}

// Prepare makes a file that bbolt can open: a new one if there is none, or an empty one. It checks every
// page of one that is there, and makes all of it durable. The directory must exist. Damage is an error with
// a method Damaged.
//
// What an earlier process could not sync may be in the page cache only (see vfs.Rewrite). So Prepare writes all
// pages anew, first all but the meta pages, syncs, and then the meta pages. At each moment what a
// power loss leaves is complete under the meta page that is on the disk: of an older meta page the pages
// keep their content, since bbolt does not reuse a page before the next transaction is durable.
func Prepare(fsys vfs.FS, name string) error {
	info, err := fsys.Stat(name)
	switch {
	case err == nil && info.Size() > 0:
		err = renew(fsys, name)
	case err == nil || errors.Is(err, fs.ErrNotExist):
		err = create(fsys, name)
	}
	if err != nil {
		return openError(name, err)
	}
	return fsys.SyncDir(path.Dir(name))
}

// create makes an empty file under its name only when it is complete: bbolt takes the half of one for
// damaged.
func create(fsys vfs.FS, name string) error {
	temp := name + tempSuffix
	if err := fsys.RemoveAll(temp); err != nil {
		return err
	}
	err := fsys.CommitMapped(temp, func() error {
		db, err := bbolt.Open(temp, Mode, Options(fsys))
		if err != nil {
			return err
		}
		return db.Close()
	})
	if err != nil {
		return err
	}
	return fsys.Rename(temp, name)
}

// renew holds bbolt's lock for readers meanwhile: nobody has the file open for writing.
func renew(fsys vfs.FS, name string) error {
	o := Options(fsys)
	o.ReadOnly = true
	lock, err := bbolt.Open(name, Mode, o)
	locked := err == nil
	if errors.Is(err, bolterrors.ErrTimeout) || errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	f, openErr := fsys.Open(name)
	if openErr == nil {
		err = errors.Join(renewFile(f, name, locked, err), f.Close())
	} else {
		err = openErr
	}
	if locked {
		err = errors.Join(err, lock.Close())
	}
	return err
}

// renewFile gives the reason why bbolt could not open a file, lockErr, only if it finds none itself.
func renewFile(f vfs.File, name string, locked bool, lockErr error) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	l, err := verify(f, name, size)
	if err != nil {
		return err
	}
	if !locked {
		return lockErr
	}
	const metas = 2
	if err := rewrite(f, metas*l.pageSize, int64(l.pages)*l.pageSize); err != nil {
		return err
	}
	return rewrite(f, 0, metas*l.pageSize)
}

// rewrite makes the bytes from one position up to another durable, whatever became of earlier syncs.
func rewrite(f vfs.File, from, to int64) error {
	if err := vfs.Rewrite(f, from, to); err != nil {
		return err
	}
	return f.Sync()
}

// openError explains an error of opening.
func openError(name string, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%s is open in another process: stop that one first", name)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Call runs f, which reads or changes the named file through bbolt. bbolt panics about what it takes for
// damage, and a page of the file that cannot be read is a fault of memory, which by itself ends the
// process. Both become errors here.
func Call(name string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if fault, ok := p.(interface{ Addr() uintptr }); ok {
			err = fmt.Errorf("read %s: %w at %#x of memory: the file was cut or the disk does not return the page", name, errFault, fault.Addr())
			return
		}
		err = &Damage{name, fmt.Sprint(p)}
	}()
	return f()
}

// errFault is an access to a page of a mapped file that the system cannot provide.
var errFault = errors.New("bus error")
