// Package stable keeps the term and the vote of every Raft group of a process in one bbolt file.
// docs/formats/stable.md describes its keys.
package stable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/wasmill/wasmill/raftstore/internal/boltfile"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// ErrClosed says that the stable store was closed before the write.
var ErrClosed = errors.New("stable store is closed")

// errNotFound must read exactly so: raft compares the text.
var errNotFound = errors.New("not found")

// bucketName holds all keys of all groups. docs/formats/stable.md has the byte table.
var bucketName = []byte("raft")

// Store keeps the term and vote of many Raft groups in one bbolt file. Writers that come at the same
// time share one transaction: a committer goroutine takes whatever is queued whenever it is free, so
// that a lone writer waits for one commit and a thousand writers for about two. Reads never touch the
// disk: everything is held in memory, some 100 bytes a group.
//
// A transaction that fails makes the store fail-stop: what it left on disk is unknown, so every later
// write returns the same error.
type Store struct {
	fsys vfs.FS
	db   *bbolt.DB
	wake chan struct{} // one token: there may be something in queue
	done chan struct{} // closed when the committer has ended

	mu     sync.Mutex
	groups map[string]*groupStore
	queue  []*change
	failed error
	closed bool
}

// change is one caller's change: values by key, or with drop everything of a group.
type change struct {
	group  string
	values map[string][]byte
	drop   bool
	result chan error
}

// Open opens or makes the file, whose directory must exist. One process may have it open.
func Open(fsys vfs.FS, name string) (*Store, error) {
	db, err := bbolt.Open(name, boltfile.Mode, boltfile.Options(fsys))
	if err != nil {
		return nil, fmt.Errorf("open stable store: %w", boltfile.OpenError(name, err))
	}
	s := &Store{
		fsys: fsys, db: db,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		groups: make(map[string]*groupStore),
	}
	err = s.commit(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketName)
		if err != nil {
			return err
		}
		return b.ForEach(s.load)
	})
	if err == nil {
		err = boltfile.SyncName(fsys, name)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open stable store %s: %w", name, err), db.Close())
	}
	go s.runCommitter()
	return s, nil
}

// commit runs one transaction and makes it durable.
func (s *Store) commit(change func(*bbolt.Tx) error) error {
	return s.fsys.CommitMapped(s.db.Path(), func() error { return s.db.Update(change) })
}

func (s *Store) load(k, v []byte) error {
	group, key, ok := decodeKey(k)
	if !ok {
		return fmt.Errorf("key %x is damaged", k)
	}
	s.groupLocked(group).values[key] = bytes.Clone(v)
	return nil
}

// encodeKey is the group's name with its length in front, so that no name is a prefix of another.
func encodeKey(group, key string) []byte {
	k := binary.AppendUvarint(nil, uint64(len(group)))
	k = append(k, group...)
	return append(k, key...)
}

func decodeKey(k []byte) (group, key string, ok bool) {
	size, n := binary.Uvarint(k)
	if n <= 0 || size > uint64(len(k)-n) {
		return "", "", false
	}
	rest := k[n:]
	return string(rest[:size]), string(rest[size:]), true
}

// Group is the store of one group. Nothing is written before the first Set. Equal names give the same
// store.
func (s *Store) Group(name string) raft.StableStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groupLocked(name)
}

func (s *Store) groupLocked(name string) *groupStore {
	g := s.groups[name]
	if g == nil {
		g = &groupStore{store: s, name: name, values: make(map[string][]byte)}
		s.groups[name] = g
	}
	return g
}

// Groups are the names of all groups that have a value, sorted.
func (s *Store) Groups() []string {
	s.mu.Lock()
	groups := slices.Collect(maps.Values(s.groups))
	s.mu.Unlock()
	var names []string
	for _, g := range groups {
		if g.hasValues() {
			names = append(names, g.name)
		}
	}
	slices.Sort(names)
	return names
}

// DeleteGroup forgets a group whose Raft instance was shut down. The store that Group returned for it
// must not be used any more.
func (s *Store) DeleteGroup(name string) error {
	if err := s.write(&change{group: name, drop: true}); err != nil {
		return fmt.Errorf("delete stable state of group %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, name)
	return nil
}

// write queues a change and waits until it is durable.
func (s *Store) write(w *change) error {
	w.result = make(chan error, 1)
	s.mu.Lock()
	err := s.failed
	if s.closed {
		err = ErrClosed
	}
	if err == nil {
		s.queue = append(s.queue, w)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.signal()
	return <-w.result
}

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Store) runCommitter() {
	defer close(s.done)
	for range s.wake {
		s.mu.Lock()
		batch, closed, err := s.queue, s.closed, s.failed
		s.queue = nil
		s.mu.Unlock()
		if len(batch) > 0 {
			if err == nil {
				err = s.commit(func(tx *bbolt.Tx) error { return applyChanges(tx, batch) })
			}
			s.finish(batch, err)
		}
		if closed {
			return
		}
	}
}

func (s *Store) finish(batch []*change, err error) {
	if err != nil {
		err = fmt.Errorf("commit stable store %s: %w", s.db.Path(), err)
		s.mu.Lock()
		if s.failed == nil {
			s.failed = err
		}
		err = s.failed
		s.mu.Unlock()
	}
	for _, w := range batch {
		w.result <- err
	}
}

func applyChanges(tx *bbolt.Tx, batch []*change) error {
	b := tx.Bucket(bucketName)
	for _, w := range batch {
		if w.drop {
			if err := deleteKeys(b, w.group); err != nil {
				return err
			}
		}
		for key, value := range w.values {
			if err := b.Put(encodeKey(w.group, key), value); err != nil {
				return err
			}
		}
	}
	return nil
}

func deleteKeys(b *bbolt.Bucket, group string) error {
	prefix := encodeKey(group, "")
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, k)
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Close commits what is queued, refuses what comes later, and closes the file. It is idempotent.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.signal()
	<-s.done
	return s.db.Close()
}
