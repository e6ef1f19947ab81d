// Package boltlog is a raft.LogStore in a bbolt file, for groups whose entries are few and small: the
// metadata group. Partitions use package log.
package boltlog

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/wasmill/wasmill/raftstore/internal/boltfile"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Log implements raft.LogStore. Safe for concurrent use.
type Log struct {
	fsys  vfs.FS
	name  string
	store *raftboltdb.BoltStore
	close func() error // once
}

// Open opens or makes the file, whose directory must exist. One process may have it open.
func Open(fsys vfs.FS, name string) (*Log, error) {
	l := &Log{fsys: fsys, name: name}
	l.close = sync.OnceValue(l.closeStore)
	// raftboltdb makes its buckets within New.
	err := fsys.CommitMapped(name, func() (err error) {
		l.store, err = raftboltdb.New(raftboltdb.Options{Path: name, BoltOptions: boltfile.Options(fsys)})
		return err
	})
	if err != nil {
		err = boltfile.OpenError(name, err)
	} else {
		err = boltfile.SyncName(fsys, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open log: %w", errors.Join(err, l.Close()))
	}
	return l, nil
}

// FirstIndex implements raft.LogStore; 0 if there are no entries.
func (l *Log) FirstIndex() (uint64, error) { return l.store.FirstIndex() }

// LastIndex implements raft.LogStore; 0 if there are no entries.
func (l *Log) LastIndex() (uint64, error) { return l.store.LastIndex() }

// GetLog implements raft.LogStore. It returns raft.ErrLogNotFound itself, not wrapped.
func (l *Log) GetLog(index uint64, entry *raft.Log) error { return l.store.GetLog(index, entry) }

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. The entries are durable when it returns.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	return l.fsys.CommitMapped(l.name, func() error { return l.store.StoreLogs(entries) })
}

// DeleteRange implements raft.LogStore, for any inclusive range.
func (l *Log) DeleteRange(first, last uint64) error {
	return l.fsys.CommitMapped(l.name, func() error { return l.store.DeleteRange(first, last) })
}

// Close closes the file. It is idempotent.
func (l *Log) Close() error { return l.close() }

func (l *Log) closeStore() error {
	if l.store == nil {
		return nil
	}
	return l.store.Close()
}
