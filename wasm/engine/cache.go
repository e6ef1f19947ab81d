package engine

import (
	"fmt"
	"os"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// prepareCache makes the directory of compiled code and reports whether the compiler can use it. wazero
// reads and writes the directory by itself, past any vfs.FS, so a file system that the operating system
// does not see has no cache.
func prepareCache(fsys vfs.FS, dir string) (usable bool, err error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return false, fmt.Errorf("compile cache: %w", err)
	}
	made, err := fsys.Stat(dir)
	if err != nil {
		return false, fmt.Errorf("compile cache: %w", err)
	}
	if seen, err := os.Stat(dir); err != nil || !os.SameFile(made, seen) {
		return false, nil
	}
	// Nobody else may plant machine code. MkdirAll sets the mode of what it makes; this may be older.
	if err := os.Chmod(dir, 0o700); err != nil {
		return false, fmt.Errorf("compile cache: %w", err)
	}
	return true, nil
}
