package raftstore

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/vfs"
)

// errSnapshotCancelled is what a sink returns when it is used after Cancel.
var errSnapshotCancelled = errors.New("snapshot was cancelled")

// Create starts a snapshot of everything up to index. Nothing of it is visible before the sink's Close
// returns nil. A snapshot of the same index and term is replaced.
func (s *Snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("create snapshot: version %d is not supported", version)
	}
	meta := &raft.SnapshotMeta{
		Version: version, ID: snapshotID(index, term), Index: index, Term: term,
		Configuration: configuration.Clone(), ConfigurationIndex: configurationIndex,
	}
	header, err := encodeSnapshotHeader(meta, 0)
	if err != nil {
		return nil, fmt.Errorf("create snapshot %s: %w", meta.ID, err)
	}
	temp := path.Join(s.dir, meta.ID+snapshotTemp)
	// A cancelled attempt whose removal failed may have left the name taken.
	if err := s.fsys.RemoveAll(temp); err != nil {
		return nil, fmt.Errorf("create snapshot %s: %w", meta.ID, err)
	}
	f, err := s.fsys.Create(temp)
	if err != nil {
		return nil, fmt.Errorf("create snapshot %s: %w", meta.ID, err)
	}
	data := io.NewOffsetWriter(f, int64(len(header)))
	return &snapshotSink{store: s, meta: meta, temp: temp, file: f,
		buffer: bufio.NewWriterSize(data, snapshotBuffer)}, nil
}

// snapshotSink writes the data behind the place of the header, and the header, which says how much
// there is, last. Not safe for concurrent use.
type snapshotSink struct {
	store  *Snapshots
	meta   *raft.SnapshotMeta // changes until Close
	temp   string
	file   vfs.File
	buffer *bufio.Writer
	sum    uint32
	ended  bool
	err    error // of Close, or errSnapshotCancelled
}

func (k *snapshotSink) ID() string { return k.meta.ID }

func (k *snapshotSink) Write(p []byte) (int, error) {
	if k.ended {
		return 0, fmt.Errorf("write snapshot %s: %w", k.meta.ID, errors.Join(errors.New("sink is closed"), k.err))
	}
	n, err := k.buffer.Write(p)
	k.sum = crc32.Update(k.sum, snapshotSums, p[:n])
	k.meta.Size += int64(n)
	return n, err
}

// Close makes the snapshot durable and visible. A second call returns what the first did, since both
// the state machine and raft close the sink.
func (k *snapshotSink) Close() error {
	if k.ended {
		return k.err
	}
	k.ended = true
	if err := k.publish(); err != nil {
		k.err = fmt.Errorf("write snapshot %s: %w", k.meta.ID, err)
		return k.err
	}
	k.store.added(k.meta)
	return nil
}

func (k *snapshotSink) publish() error {
	if err := k.writeOut(); err != nil {
		return errors.Join(err, k.file.Close(), k.store.fsys.Remove(k.temp))
	}
	if err := k.file.Close(); err != nil {
		return errors.Join(err, k.store.fsys.Remove(k.temp))
	}
	if err := k.store.fsys.Rename(k.temp, k.store.file(k.meta.ID)); err != nil {
		return errors.Join(err, k.store.fsys.Remove(k.temp))
	}
	return k.store.fsys.SyncDir(k.store.dir)
}

func (k *snapshotSink) writeOut() error {
	if err := k.buffer.Flush(); err != nil {
		return err
	}
	header, err := encodeSnapshotHeader(k.meta, k.sum)
	if err != nil {
		return err
	}
	if _, err := k.file.WriteAt(header, 0); err != nil {
		return err
	}
	return k.file.Sync()
}

// Cancel gives the snapshot up. After Close it does nothing.
func (k *snapshotSink) Cancel() error {
	if k.ended {
		return nil
	}
	k.ended, k.err = true, errSnapshotCancelled
	if err := errors.Join(k.file.Close(), k.store.fsys.Remove(k.temp)); err != nil {
		return fmt.Errorf("cancel snapshot %s: %w", k.meta.ID, err)
	}
	return nil
}
