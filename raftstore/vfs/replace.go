package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// replacing is the end of a file's name while it is being written.
const replacing = ".tmp"

// ReplaceFile puts a whole small file in place of an older one, or of none. After a crash one of the two
// is there, complete; the new one for sure after a SyncDir of its directory. It writes name.tmp first,
// over what a crash left there; two calls for one name must not overlap.
func ReplaceFile(fsys FS, name string, content []byte) error {
	if err := replaceFile(fsys, name, content); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

func replaceFile(fsys FS, name string, content []byte) error {
	temp := name + replacing
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fsys.Rename(temp, name)
	}
	if err != nil {
		_ = fsys.Remove(temp) // gives the space back; else the next call does
	}
	return err
}

// ReplaceFileSynced is ReplaceFile followed by SyncDir: when it returns, the new file stays.
func ReplaceFileSynced(fsys FS, name string, content []byte) error {
	if err := ReplaceFile(fsys, name, content); err != nil {
		return err
	}
	if err := fsys.SyncDir(path.Dir(name)); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}
