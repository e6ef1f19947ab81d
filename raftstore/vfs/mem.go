package vfs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that knows what of it a power loss would leave. It loses more than most real
// file systems do, and keeps nothing that POSIX does not guarantee:
//
//   - written data is durable after Sync or SyncData of its file, in units of 512-byte sectors; until
//     then each sector may hold any of its contents since the last sync;
//   - a file's size is durable after Sync or SyncData;
//   - a created, renamed or removed name is durable after SyncDir of its directory, and a directory
//     exists only as far as its parents' entries are durable;
//   - after a failed sync (see Faulty) the sectors that it should have written are never made durable
//     by a later sync, unless they are written again.
//
// A failed SyncDir, in contrast, may be repeated.
type Mem struct {
	// mu covers everything: the fields below, all directories, and contents and handles of all files.
	mu       sync.Mutex
	root     *memDir
	locks    map[string]bool
	capacity int64 // bytes; 0 is no limit
	used     int64 // bytes that the files of this Mem hold allocated
}

// MemOption changes how a Mem behaves.
type MemOption func(*Mem)

// WithCapacity limits the bytes that files may hold in whole 4 KiB pages: writes, and Allocate, beyond
// it fail with syscall.ENOSPC. A file that Truncate extends holds no pages until they are written.
func WithCapacity(bytes int64) MemOption { return func(m *Mem) { m.capacity = bytes } }

// NewMem is an empty file system, with a root directory for relative paths as for absolute ones.
func NewMem(opts ...MemOption) *Mem {
	m := &Mem{root: newMemDir(), locks: make(map[string]bool)}
	for _, o := range opts {
		o(m)
	}
	return m
}

// memNode is a *memDir or a *memInode.
type memNode interface{}

type memDir struct {
	live    map[string]memNode
	durable map[string]memNode
	pending []*memDirOp // in order, not synced
}

// memDirOp sets or removes names of one or two directories, all or nothing.
type memDirOp struct {
	changes   []memDirChange
	committed bool // one of the two directories was synced
}

type memDirChange struct {
	dir  *memDir
	name string
	node memNode // nil removes
}

func newMemDir() *memDir {
	return &memDir{live: make(map[string]memNode), durable: make(map[string]memNode)}
}

// applyLocked makes the changes visible and pending in their directories.
func (m *Mem) applyLocked(changes ...memDirChange) {
	op := &memDirOp{changes: changes}
	for _, c := range changes {
		if old, ok := c.dir.live[c.name].(*memInode); ok {
			old.links--
			m.releaseLocked(old)
		}
		if c.node == nil {
			delete(c.dir.live, c.name)
		} else {
			c.dir.live[c.name] = c.node
		}
		if in, ok := c.node.(*memInode); ok {
			in.links++
		}
		if n := len(c.dir.pending); n == 0 || c.dir.pending[n-1] != op {
			c.dir.pending = append(c.dir.pending, op)
		}
	}
}

// releaseLocked gives back the space of a file without names and handles.
func (m *Mem) releaseLocked(in *memInode) {
	if in.links == 0 && in.handles == 0 {
		m.used -= in.charged() * pageSize
	}
}

func splitPath(name string) []string {
	name = strings.Trim(path.Clean("/"+name), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

func (m *Mem) dirLocked(parts []string) (*memDir, error) {
	d := m.root
	for _, p := range parts {
		switch n := d.live[p].(type) {
		case *memDir:
			d = n
		case nil:
			return nil, syscall.ENOENT
		default:
			return nil, syscall.ENOTDIR
		}
	}
	return d, nil
}

// parentLocked is the directory that holds name, and the last part of name.
func (m *Mem) parentLocked(name string) (*memDir, string, error) {
	parts := splitPath(name)
	if len(parts) == 0 {
		return nil, "", syscall.EBUSY
	}
	d, err := m.dirLocked(parts[:len(parts)-1])
	return d, parts[len(parts)-1], err
}

func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parentLocked(name)
	if err == nil && d.live[base] != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	in := newMemInode()
	m.applyLocked(memDirChange{d, base, in})
	return m.handleLocked(in, name, false), nil
}

func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

func (m *Mem) OpenReadOnly(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, readOnly bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parentLocked(name)
	if err == nil {
		switch n := d.live[base].(type) {
		case *memInode:
			return m.handleLocked(n, name, readOnly), nil
		case *memDir:
			err = syscall.EISDIR
		default:
			err = syscall.ENOENT
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: err}
}

func (m *Mem) handleLocked(in *memInode, name string, readOnly bool) *memFile {
	in.handles++
	return &memFile{mem: m, inode: in, name: name, readOnly: readOnly}
}

func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parentLocked(name)
	if err == nil {
		switch n := d.live[base].(type) {
		case nil:
			err = syscall.ENOENT
		case *memDir:
			if len(n.live) > 0 {
				err = syscall.ENOTEMPTY
			}
		}
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	m.applyLocked(memDirChange{dir: d, name: base})
	return nil
}

func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parentLocked(name)
	if errors.Is(err, syscall.ENOENT) || err == nil && d.live[base] == nil {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	m.removeTreeLocked(d, base)
	return nil
}

func (m *Mem) removeTreeLocked(d *memDir, name string) {
	if sub, ok := d.live[name].(*memDir); ok {
		for _, n := range slices.Sorted(maps.Keys(sub.live)) {
			m.removeTreeLocked(sub, n)
		}
	}
	m.applyLocked(memDirChange{dir: d, name: name})
}

func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.renameLocked(from, to); err != nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fmt.Errorf("to %s: %w", to, err)}
	}
	return nil
}

func (m *Mem) renameLocked(from, to string) error {
	fromDir, fromBase, err := m.parentLocked(from)
	if err != nil {
		return err
	}
	toDir, toBase, err := m.parentLocked(to)
	if err != nil {
		return err
	}
	node := fromDir.live[fromBase]
	if node == nil {
		return syscall.ENOENT
	}
	_, movesDir := node.(*memDir)
	switch toDir.live[toBase].(type) {
	case *memDir:
		return syscall.EEXIST
	case *memInode:
		if movesDir {
			return syscall.ENOTDIR
		}
	}
	if fromDir == toDir && fromBase == toBase {
		return nil
	}
	if movesDir && strings.HasPrefix(path.Clean("/"+to)+"/", path.Clean("/"+from)+"/") {
		return syscall.EINVAL
	}
	// The new name comes first, so that the file never has none.
	m.applyLocked(memDirChange{toDir, toBase, node}, memDirChange{dir: fromDir, name: fromBase})
	return nil
}

func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.root
	for _, p := range splitPath(dir) {
		switch n := d.live[p].(type) {
		case *memDir:
			d = n
		case nil:
			made := newMemDir()
			m.applyLocked(memDirChange{d, p, made})
			d = made
		default:
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
	}
	return nil
}

func (m *Mem) ReadDir(dir string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.dirLocked(splitPath(dir))
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: err}
	}
	out := make([]fs.DirEntry, 0, len(d.live))
	for name, n := range d.live {
		out = append(out, fs.FileInfoToDirEntry(newMemInfo(name, n)))
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return out, nil
}

func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	parts := splitPath(name)
	if len(parts) == 0 {
		return newMemInfo("/", m.root), nil
	}
	d, base, err := m.parentLocked(name)
	if err == nil && d.live[base] == nil {
		err = syscall.ENOENT
	}
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return newMemInfo(base, d.live[base]), nil
}

func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.dirLocked(splitPath(dir))
	if err != nil {
		return &fs.PathError{Op: "syncdir", Path: dir, Err: err}
	}
	for _, op := range d.pending {
		op.committed = true
	}
	d.durable = maps.Clone(d.live)
	d.pending = nil
	return nil
}

// Lock knows only the owners that use this Mem.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parentLocked(name)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	key := strings.Join(splitPath(name), "/")
	if m.locks[key] {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	if d.live[base] == nil {
		m.applyLocked(memDirChange{d, base, newMemInode()})
	}
	m.locks[key] = true
	return memLock{close: sync.OnceValue(func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, key)
		return nil
	})}, nil
}

// memLock closes once: a second Close must not release the lock of the next owner.
type memLock struct{ close func() error }

func (l memLock) Close() error { return l.close() }

func (m *Mem) FreeBytes(string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.capacity == 0 {
		return math.MaxInt64, nil
	}
	return uint64(max(0, m.capacity-m.used)), nil
}

// OpenMapped is not supported: there is no file of the operating system to map.
func (m *Mem) OpenMapped(name string, _ int, _ fs.FileMode) (*os.File, error) {
	return nil, &fs.PathError{Op: "open mapped", Path: name, Err: errors.ErrUnsupported}
}

// CommitMapped is not supported, as OpenMapped.
func (m *Mem) CommitMapped(name string, _ func() error) error {
	return &fs.PathError{Op: "commit mapped", Path: name, Err: errors.ErrUnsupported}
}

type memInfo struct {
	name string
	dir  bool
	size int64
}

func newMemInfo(name string, n memNode) memInfo {
	if in, ok := n.(*memInode); ok {
		return memInfo{name: name, size: in.size}
	}
	return memInfo{name: name, dir: true}
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return time.Time{} } // a Mem reads no clock
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }

func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | dirMode
	}
	return fileMode
}
