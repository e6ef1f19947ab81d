// Package boltlog is a raft.LogStore in a bbolt file, for groups whose entries are few and small: the
// metadata group. Partitions use package log.
package boltlog

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/wasmill/wasmill/raftstore/internal/boltfile"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Log implements raft.LogStore. Safe for concurrent use.
//
// The log is fail-stop: what a failed commit left on disk is unknown, and bbolt goes on from what is in
// memory, so every later change returns the same error. Reads go on.
type Log struct {
	fsys     vfs.FS
	name     string
	onFailed func(error)
	store    *raftboltdb.BoltStore
	close    func() error // once

	change sync.Mutex // held during a commit; covers failed
	failed error      // of the first commit that failed
}

// Open opens or makes the file, whose directory must exist. One process may have it open. onFailed is called
// once, when the log has failed; it must not call the log.
func Open(fsys vfs.FS, name string, onFailed func(error)) (*Log, error) {
	l := &Log{fsys: fsys, name: name, onFailed: onFailed}
	l.close = sync.OnceValue(l.closeStore)
	err := boltfile.Prepare(fsys, name)
	if err == nil {
		// raftboltdb makes its buckets within New.
		err = l.commit(func() (err error) {
			l.store, err = raftboltdb.New(raftboltdb.Options{Path: name, BoltOptions: boltfile.Options(fsys)})
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open log: %w", errors.Join(err, l.Close()))
	}
	return l, nil
}

// commit runs one transaction, durable when it returns nil.
func (l *Log) commit(transaction func() error) error {
	return l.fsys.CommitMapped(l.name, func() error { return boltfile.Call(l.name, transaction) })
}

// changeStore is commit, unless one has failed.
func (l *Log) changeStore(transaction func() error) error {
	l.change.Lock()
	defer l.change.Unlock()
	if l.failed != nil {
		return l.failed
	}
	if err := l.commit(transaction); err != nil {
		l.failed = fmt.Errorf("commit log %s: %w", l.name, err)
		l.onFailed(l.failed)
	}
	return l.failed
}

// FirstIndex implements raft.LogStore; 0 if there are no entries.
func (l *Log) FirstIndex() (uint64, error) { return l.readIndex(l.store.FirstIndex) }

// LastIndex implements raft.LogStore; 0 if there are no entries.
func (l *Log) LastIndex() (uint64, error) { return l.readIndex(l.store.LastIndex) }

func (l *Log) readIndex(read func() (uint64, error)) (index uint64, err error) {
	err = boltfile.Call(l.name, func() (err error) {
		index, err = read()
		return err
	})
	return index, err
}

// GetLog implements raft.LogStore. It returns raft.ErrLogNotFound itself, not wrapped.
func (l *Log) GetLog(index uint64, entry *raft.Log) error {
	err := boltfile.Call(l.name, func() error { return l.store.GetLog(index, entry) })
	var damage *boltfile.Damage
	if err == nil || err == raft.ErrLogNotFound || errors.As(err, &damage) || errors.Is(err, bolterrors.ErrDatabaseNotOpen) { //nolint:errorlint // raft compares so
		return err
	}
	return &boltfile.Damage{File: l.name, Reason: fmt.Sprintf("entry %d: %v", index, err)} // it is not encoded as it should be
}

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. The entries are durable when it returns.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	return l.changeStore(func() error { return l.store.StoreLogs(entries) })
}

// DeleteRange implements raft.LogStore, for any inclusive range.
func (l *Log) DeleteRange(first, last uint64) error {
	return l.changeStore(func() error { return l.store.DeleteRange(first, last) })
}

// Close closes the file. It is idempotent.
func (l *Log) Close() error { return l.close() }

func (l *Log) closeStore() error {
	if l.store == nil {
		return nil
	}
	return l.store.Close()
}
