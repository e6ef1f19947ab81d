package broker

import (
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

// moduleStore keeps uploaded modules under the SHA-256 of their bytes: what a version means can never
// change, and the same module pushed under two names lies there once.
type moduleStore struct {
	fs  vfs.FS
	dir string
	// mu is held from storing bytes to naming them in the metadata, and from taking the last name away to
	// removing them: else bytes could go that an upload has just found in place.
	mu sync.Mutex
}

func openModuleStore(fsys vfs.FS, dir string) (*moduleStore, error) {
	if err := vfs.MkdirAllSynced(fsys, dir); err != nil {
		return nil, fmt.Errorf("open module store: %w", err)
	}
	return &moduleStore{fs: fsys, dir: dir}, nil
}

func (s *moduleStore) path(hash string) string { return path.Join(s.dir, hash+".wasm") }

// put stores the bytes durably and returns their hash in lower-case hex.
func (s *moduleStore) put(wasm []byte) (string, error) {
	sum := sha256.Sum256(wasm)
	hash := hex.EncodeToString(sum[:])
	if _, err := s.get(hash); err == nil {
		return hash, nil
	}
	if err := vfs.ReplaceFileSynced(s.fs, s.path(hash), wasm); err != nil {
		return "", fmt.Errorf("store module %s: %w", hash[:12], err)
	}
	return hash, nil
}

// get reads a module and checks it against its hash.
func (s *moduleStore) get(hash string) ([]byte, error) {
	f, err := s.fs.OpenReadOnly(s.path(hash))
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", hash, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", hash, err)
	}
	wasm := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), wasm); err != nil {
		return nil, fmt.Errorf("read module %s: %w", hash, err)
	}
	if sum := sha256.Sum256(wasm); hex.EncodeToString(sum[:]) != hash {
		return nil, fmt.Errorf("read module %s: file %s is damaged; push the module again", hash, f.Name())
	}
	return wasm, nil
}

// remove forgets a module that no version names any more.
func (s *moduleStore) remove(hash string) error {
	if err := s.fs.Remove(s.path(hash)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove module %s: %w", hash, err)
	}
	return nil
}
