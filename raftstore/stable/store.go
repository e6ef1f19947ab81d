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

// ErrClosed is returned by writes after Close.
var ErrClosed = errors.New("stable store is closed")

// errNotFound is for a missing key. Raft compares the text.
var errNotFound = errors.New("not found")

// bucketName is of the bucket that holds all keys of all groups.
var bucketName = []byte("raft")

// Store keeps the term and vote of many Raft groups in one bbolt file. Concurrent writers share
// transactions: a committer goroutine commits everything in the queue, then everything that was queued
// meanwhile, so that a lone writer waits for one commit and a thousand writers for about two. Reads do
// not touch the disk: all values are held in memory, about 100 bytes a group. Safe for concurrent use.
//
// The store is fail-stop: what a failed transaction left on disk is unknown, so every later write returns
// the same error.
type Store struct {
	fsys  vfs.FS
	db    *bbolt.DB
	wake  chan struct{} // holds one token when the queue may not be empty, or the store was closed
	done  chan struct{} // closed when the committer has ended
	close func() error  // once

	// mu covers the fields below and is never held during a commit. groupStore.write is taken before it,
	// groupStore.mu is never held together with it.
	mu     sync.Mutex
	groups map[string]*groupStore
	queue  []*change
	failed error // of the first transaction that failed
	closed bool  // nothing is queued any more
}

// change is one caller's write: values by key, or, with drop, the removal of all values of a group.
type change struct {
	group  string
	values map[string][]byte
	drop   bool
	result chan error
}

// Open opens or makes the file, whose directory must exist. One process may have it open.
func Open(fsys vfs.FS, name string) (*Store, error) {
	if err := boltfile.Prepare(fsys, name); err != nil {
		return nil, fmt.Errorf("open stable store: %w", withRemedy(err))
	}
	db, err := bbolt.Open(name, boltfile.Mode, boltfile.Options(fsys))
	if err != nil {
		return nil, fmt.Errorf("open stable store %s: %w", name, err)
	}
	s := &Store{
		fsys: fsys, db: db,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		groups: make(map[string]*groupStore),
	}
	s.close = sync.OnceValue(s.shutdown)
	err = s.commit(func(tx *bbolt.Tx) error {
		if err := openBuckets(tx); err != nil {
			return err
		}
		return tx.Bucket(bucketName).ForEach(s.load)
	})
	if err == nil {
		err = s.checkVotes()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open stable store %s: %w", name, withRemedy(err)), db.Close())
	}
	go s.runCommitter()
	return s, nil
}

// commit runs one transaction, durable when it returns nil.
func (s *Store) commit(change func(*bbolt.Tx) error) error {
	name := s.db.Path()
	return s.fsys.CommitMapped(name, func() error {
		return boltfile.Call(name, func() error { return s.db.Update(change) })
	})
}

// load takes a stored value into memory. Open calls it before anyone else knows the store.
func (s *Store) load(k, v []byte) error {
	group, key, ok := decodeKey(k)
	if !ok {
		return damage("key %x is none", k)
	}
	s.groupLocked(group).values[key] = bytes.Clone(v)
	return nil
}

// encodeKey puts the name's length before the name, so that no group's keys begin with another's.
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

// Group returns the store of one group, the same one for equal names. It writes nothing before the first
// Set.
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

// Groups returns the names of all groups that have a value, sorted.
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

// DeleteGroup removes all values of a group whose Raft instance was shut down. The store that Group
// returned for it must not be used afterwards.
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
	// If wake holds a token already, the committer has yet to take it, and reads the queue after that.
	s.signal()
	return <-w.result
}

// signal leaves a token for the committer, if there is none.
func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// runCommitter commits what is queued until the store is closed. closed and queue are read together: once
// closed is true nothing is queued, so the batch taken with it is the last one.
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

// finish gives the writers of a batch their result. A failure is noted first, so that none of them can
// queue another write and find the store usable.
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
	for _, w := range batch {
		if w.drop {
			if err := deleteKeys(tx, w.group); err != nil {
				return err
			}
		}
		for key, value := range w.values {
			if err := put(tx, encodeKey(w.group, key), value); err != nil {
				return err
			}
		}
	}
	return seal(tx)
}

func deleteKeys(tx *bbolt.Tx, group string) error {
	prefix := encodeKey(group, "")
	var keys [][]byte
	c := tx.Bucket(bucketName).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, k)
	}
	for _, k := range keys {
		if err := remove(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// Close commits what is queued, refuses later writes, and closes the file. It is idempotent.
func (s *Store) Close() error { return s.close() }

func (s *Store) shutdown() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.signal()
	<-s.done
	return s.db.Close()
}
