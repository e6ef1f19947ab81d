package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// format is the version of the data directory's layout; a newer one is never touched.
const format = 1

// Errors of a data directory that cannot be opened.
var (
	// ErrInUse is returned when another broker has the directory open.
	ErrInUse = errors.New("the data directory is in use by another broker")
	// ErrNewer is returned when a later version of Wasmill wrote the directory.
	ErrNewer = errors.New("the data directory was written by a newer version of Wasmill")
	// ErrUnusable is returned when the directory cannot be made, read or written.
	ErrUnusable = errors.New("the data directory cannot be used")
)

// formatInfo is the content of the format file:
//
//	{"format": 1, "created_by": "v0.1.0"}
type formatInfo struct {
	Format    int    `json:"format"`
	CreatedBy string `json:"created_by"`
}

// Dir is a data directory whose lock this process holds.
type Dir struct {
	Layout
	fs    vfs.FS
	close func() error
}

// Open makes the directory when it is missing, takes its lock and checks its format. version is this
// program's, for a directory that is new. The errors are, or wrap, ErrInUse, ErrNewer and ErrUnusable.
func Open(fsys vfs.FS, root, version string) (*Dir, error) {
	if err := vfs.MkdirAllSynced(fsys, root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	lock, err := Lock(fsys, root)
	if err != nil {
		return nil, err
	}
	d := &Dir{Layout: At(root), fs: fsys, close: sync.OnceValue(lock.Close)}
	if err := d.checkFormat(version); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Lock takes the lock of the data directory at root, which must exist, without reading anything in it.
// Closing the result releases it.
func Lock(fsys vfs.FS, root string) (io.Closer, error) {
	lock, err := fsys.Lock(path.Join(root, lockFile))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, root)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	return lock, nil
}

// Close releases the lock. Idempotent.
func (d *Dir) Close() error { return d.close() }

// checkFormat refuses a directory of a newer format, and writes the format file of a new one.
func (d *Dir) checkFormat(version string) error {
	name := path.Join(d.root, formatFile)
	f, err := d.fs.OpenReadOnly(name)
	if errors.Is(err, fs.ErrNotExist) {
		b, err := json.Marshal(formatInfo{Format: format, CreatedBy: version})
		if err != nil {
			return err
		}
		return vfs.ReplaceFileSynced(d.fs, name, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	defer f.Close()
	var info formatInfo
	if err := json.NewDecoder(io.NewSectionReader(f, 0, 1<<16)).Decode(&info); err != nil {
		return fmt.Errorf("%w: %s: %w; restore the file", ErrUnusable, name, err)
	}
	if info.Format > format {
		return fmt.Errorf("%w: %s has format %d, this broker knows %d", ErrNewer, d.root, info.Format, format)
	}
	return nil
}

// findDepth is how many directories up Find looks: a partition's lies three below the root.
const findDepth = 4

// Find returns the data directory that dir, an absolute path, is or lies in; false when there is none.
func Find(fsys vfs.FS, dir string) (Layout, bool) {
	for range findDepth {
		if _, err := fsys.Stat(path.Join(dir, formatFile)); err == nil {
			return At(dir), true
		}
		dir = path.Dir(dir)
	}
	return Layout{}, false
}
