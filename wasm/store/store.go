// Package store keeps uploaded modules in files that are named by the SHA-256 of their bytes: what a
// version means can never change, and the same module pushed under two names is stored once.
//
// Which hashes are named, that is in use, is known to the caller's metadata and not to the store. Add and
// RemoveUnnamed take functions that name a hash and look names up, and make sure that the file of a hash
// is there for as long as the hash is named or about to be.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// ErrDamaged means that a module's file does not hold the bytes that its name says.
var ErrDamaged = errors.New("module file is damaged")

// Store is a directory of modules. Safe for concurrent use.
type Store struct {
	fs  vfs.FS
	dir string

	// mu covers adding, and the removal of files: RemoveUnnamed holds it from looking whether a hash is
	// being added or named until its file is gone. Add does not hold it while it writes the file or while
	// the hash is named, which may take a round through Raft; the entry in adding stands for it. So:
	//
	//	Add counts the hash up, finds its file in place or writes it, names the hash, counts it down
	//	RemoveUnnamed of the same hash
	//	  before Add counts up:  the file goes, and Add writes it again
	//	  in between:            the file stays, whether or not the hash is named in the end
	//	  after Add counts down: named finds the name, and the file stays
	mu     sync.Mutex
	adding map[string]int // calls of Add under way, by hash

	// writing is held while a file is written: two writers of one hash would share its temporary file.
	// It is a leaf, taken without mu.
	writing sync.Mutex
}

// Open opens the store in dir, making it when missing.
func Open(fsys vfs.FS, dir string) (*Store, error) {
	if err := vfs.MkdirAllSynced(fsys, dir); err != nil {
		return nil, fmt.Errorf("open module store: %w", err)
	}
	return &Store{fs: fsys, dir: dir, adding: map[string]int{}}, nil
}

func (s *Store) path(hash string) string { return path.Join(s.dir, hash+".wasm") }

// Add stores a module durably and then calls name with its hash, in lower-case hex. name makes the hash
// known, for example by a metadata command; until it returns no RemoveUnnamed removes the file. When name
// fails, its error is returned as it is and the file stays: the caller cannot know that the command will
// not be applied later.
func (s *Store) Add(wasm []byte, name func(hash string) error) error {
	sum := sha256.Sum256(wasm)
	hash := hex.EncodeToString(sum[:])
	s.count(hash, 1)
	defer s.count(hash, -1)
	if err := s.write(hash, wasm); err != nil {
		return fmt.Errorf("store module %s: %w", hash, err)
	}
	return name(hash)
}

func (s *Store) count(hash string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adding[hash] += n; s.adding[hash] == 0 {
		delete(s.adding, hash)
	}
}

// write puts the file in place, unless it is there and sound. Then its directory is synced again: whoever
// put it there may have failed to.
func (s *Store) write(hash string, wasm []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if _, err := s.read(hash); err == nil {
		return s.fs.SyncDir(s.dir)
	}
	return vfs.ReplaceFileSynced(s.fs, s.path(hash), wasm)
}

// Get reads a module and checks it against its hash. Errors: fs.ErrNotExist when there is no such module,
// ErrDamaged when the file holds something else, and those of the file system.
func (s *Store) Get(_ context.Context, hash string) ([]byte, error) {
	wasm, err := s.read(hash)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", hash, err)
	}
	return wasm, nil
}

func (s *Store) read(hash string) ([]byte, error) {
	f, err := s.fs.OpenReadOnly(s.path(hash))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	wasm := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), wasm); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(wasm); hex.EncodeToString(sum[:]) != hash {
		return nil, fmt.Errorf("file %s: %w; push the module again", s.path(hash), ErrDamaged)
	}
	return wasm, nil
}

// RemoveUnnamed removes the files of those hashes that named does not report as in use. Call it after the
// last name was taken away. named is called with a lock held: it must be quick and must not call the store.
// Every hash is tried; the errors are joined.
func (s *Store) RemoveUnnamed(hashes []string, named func(hash string) bool) error {
	var errs []error
	for _, hash := range hashes {
		errs = append(errs, s.removeUnnamed(hash, named))
	}
	return errors.Join(errs...)
}

func (s *Store) removeUnnamed(hash string, named func(hash string) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adding[hash] > 0 || named(hash) {
		return nil
	}
	if err := s.fs.Remove(s.path(hash)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove module %s: %w", hash, err)
	}
	return nil
}
