// Package snapshot implements raft.SnapshotStore: a directory with one checksummed file per snapshot.
// docs/formats/snapshot.md describes every byte on disk.
package snapshot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

var (
	// ErrCorrupt means that a snapshot file is not what was written.
	ErrCorrupt = errors.New("snapshot is corrupt")
	// ErrNotFound means that the store has no snapshot of that name, or has removed it since.
	ErrNotFound = errors.New("snapshot not found")
)

const (
	fileSuffix = ".snap"
	tempSuffix = ".tmp"
	// bufferSize is the size of single reads and writes.
	bufferSize = 128 << 10
)

// Store is the raft.SnapshotStore of one group: a directory with one file per snapshot. A file gets its
// name only when it is complete and durable, so that a crash at any moment leaves the old snapshots, or
// the old and the new one. Safe for concurrent use.
//
// A damaged file is never used: it is logged, kept for inspection until newer snapshots replace it, and
// the next older snapshot takes its place. Whether the log still reaches back to that one is checked where
// the group starts.
type Store struct {
	fsys    vfs.FS
	dir     string
	options Options

	// mu covers the fields below. It is held while old files are removed, so that a snapshot is not listed
	// any more once its file may be gone, but not while a snapshot is read or written.
	mu      sync.Mutex
	metas   []*raft.SnapshotMeta // valid snapshots, newest first; the elements are immutable
	damaged []string             // ids
}

// Options configure Open.
type Options struct {
	// Retain is how many of the newest snapshots are kept, at least 1.
	Retain int
	// Logger is nil for no logs.
	Logger *slog.Logger
}

// Open opens or makes the directory, removes the files of unfinished snapshots, and verifies every
// snapshot to its last byte.
func Open(fsys vfs.FS, dir string, o Options) (*Store, error) {
	if o.Retain < 1 {
		return nil, fmt.Errorf("open snapshots %s: cannot retain %d, need at least 1", dir, o.Retain)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{fsys: fsys, dir: dir, options: o}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open snapshots %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) open() error {
	// A process that was killed between the renaming of a file and the sync of its name leaves a snapshot
	// that the log is cut up to from now on, and that a power loss would take away.
	if err := vfs.OpenDirSynced(s.fsys, s.dir); err != nil {
		return err
	}
	entries, err := s.fsys.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, tempSuffix) {
			if err := s.fsys.Remove(path.Join(s.dir, name)); err != nil {
				return err
			}
			continue
		}
		id, ok := strings.CutSuffix(name, fileSuffix)
		if !ok || e.IsDir() {
			continue
		}
		meta, f, err := s.openVerified(id)
		if errors.Is(err, ErrCorrupt) {
			s.damagedLocked(id, err)
			continue
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		s.metas = append(s.metas, meta)
	}
	// Names have fixed-width numbers: their order is the order of index and term.
	slices.SortFunc(s.metas, func(a, b *raft.SnapshotMeta) int { return strings.Compare(b.ID, a.ID) })
	return nil
}

// formatID returns an id whose order as text is the order of (index, term) as numbers.
func formatID(index, term uint64) string { return fmt.Sprintf("%020d-%020d", index, term) }

func (s *Store) file(id string) string { return path.Join(s.dir, id+fileSuffix) }

// openVerified opens a snapshot after it verified the whole file.
func (s *Store) openVerified(id string) (*raft.SnapshotMeta, vfs.File, error) {
	name := s.file(id)
	f, err := s.fsys.OpenReadOnly(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("snapshot %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, nil, err
	}
	meta, err := verify(f)
	if err == nil && meta.ID != id {
		err = fmt.Errorf("it holds snapshot %s: %w", meta.ID, ErrCorrupt)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("snapshot %s: %w", name, err), f.Close())
	}
	return meta, f, nil
}

// List returns the valid snapshots, newest first. The elements belong to the caller.
func (s *Store) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*raft.SnapshotMeta, len(s.metas))
	for i, m := range s.metas {
		out[i] = copyMeta(m)
	}
	return out, nil
}

func copyMeta(m *raft.SnapshotMeta) *raft.SnapshotMeta {
	c := *m
	c.Configuration = m.Configuration.Clone()
	return &c
}

// Newest returns the position of the newest valid snapshot.
func (s *Store) Newest() (index, term uint64, ok bool) {
	return s.position(func(n int) int { return 0 })
}

// Oldest returns the position of the oldest valid snapshot. A log that keeps every entry after it can be
// started from any snapshot of the store, should the newer ones be damaged.
func (s *Store) Oldest() (index, term uint64, ok bool) {
	return s.position(func(n int) int { return n - 1 })
}

func (s *Store) position(pick func(n int) int) (index, term uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.metas) == 0 {
		return 0, 0, false
	}
	m := s.metas[pick(len(s.metas))]
	return m.Index, m.Term, true
}

// damagedLocked takes a snapshot off the list.
func (s *Store) damagedLocked(id string, err error) {
	s.metas = slices.DeleteFunc(s.metas, func(m *raft.SnapshotMeta) bool { return m.ID == id })
	s.damaged = append(s.damaged, id)
	s.options.Logger.Error("damaged snapshot; an older one is used if there is one", "error", err)
}

// Open verifies the whole snapshot and returns a reader of its data, which the caller closes. A damaged
// snapshot is an error that wraps ErrCorrupt, and is not listed afterwards.
//
// The list is read first and the file opened without the lock. If a newer snapshot removes the file in
// between, the opening fails with ErrNotFound; removed later, it stays readable while it is open.
func (s *Store) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	listed := slices.ContainsFunc(s.metas, func(m *raft.SnapshotMeta) bool { return m.ID == id })
	s.mu.Unlock()
	if !listed {
		return nil, nil, fmt.Errorf("snapshot %s: %w", s.file(id), ErrNotFound)
	}
	meta, f, err := s.openVerified(id)
	if errors.Is(err, ErrCorrupt) {
		s.mu.Lock()
		s.damagedLocked(id, err)
		s.mu.Unlock()
	}
	if err != nil {
		return nil, nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	data := io.NewSectionReader(f, size-meta.Size, meta.Size)
	return meta, &reader{Reader: bufio.NewReaderSize(data, bufferSize), file: f}, nil
}

type reader struct {
	*bufio.Reader
	file vfs.File
}

func (r *reader) Close() error { return r.file.Close() }

// added lists a new durable snapshot and removes those that are no longer retained. A file that cannot be
// removed only takes space: the next snapshot tries again.
func (s *Store) added(meta *raft.SnapshotMeta) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metas = slices.DeleteFunc(s.metas, func(m *raft.SnapshotMeta) bool { return m.ID == meta.ID })
	s.damaged = slices.DeleteFunc(s.damaged, func(id string) bool { return id == meta.ID })
	s.metas = append(s.metas, meta)
	slices.SortFunc(s.metas, func(a, b *raft.SnapshotMeta) int { return strings.Compare(b.ID, a.ID) })
	for len(s.metas) > s.options.Retain {
		last := len(s.metas) - 1
		if !s.removeLocked(s.metas[last].ID) {
			return
		}
		s.metas = s.metas[:last]
	}
	oldest := s.metas[len(s.metas)-1].ID
	s.damaged = slices.DeleteFunc(s.damaged, func(id string) bool {
		return id < oldest && s.removeLocked(id)
	})
}

// removeLocked removes a snapshot's file. It needs no SyncDir: a crash that undoes the removal brings back
// an old snapshot only.
func (s *Store) removeLocked(id string) bool {
	err := s.fsys.Remove(s.file(id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.options.Logger.Error("old snapshot not removed; the next one tries again", "error", err)
		return false
	}
	return true
}
