package snapshot

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// errCancelled is returned by a sink that is used after Cancel.
var errCancelled = errors.New("snapshot was cancelled")

// Create starts a snapshot of everything up to index. It is not listed before the sink's Close returns
// nil. A snapshot of the same index and term is replaced.
func (s *Store) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("create snapshot: version %d is not supported", version)
	}
	meta := &raft.SnapshotMeta{
		Version: version, ID: formatID(index, term), Index: index, Term: term,
		Configuration: configuration.Clone(), ConfigurationIndex: configurationIndex,
	}
	header, err := encodeHeader(meta, 0)
	if err != nil {
		return nil, fmt.Errorf("create snapshot %s: %w", meta.ID, err)
	}
	temp := path.Join(s.dir, meta.ID+tempSuffix)
	// A cancelled snapshot whose file could not be removed may have left the name taken.
	if err := s.fsys.RemoveAll(temp); err != nil {
		return nil, fmt.Errorf("create snapshot %s: %w", meta.ID, err)
	}
	f, err := s.fsys.Create(temp)
	if err != nil {
		return nil, fmt.Errorf("create snapshot %s: %w", meta.ID, err)
	}
	data := io.NewOffsetWriter(f, int64(len(header)))
	return &sink{store: s, meta: meta, temp: temp, file: f,
		buffer: bufio.NewWriterSize(data, bufferSize)}, nil
}

// sink writes the data first, after the place of the header, and the header last, since it holds the
// data's size and checksum. Not safe for concurrent use.
type sink struct {
	store  *Store
	meta   *raft.SnapshotMeta // Size grows until Close
	temp   string
	file   vfs.File
	buffer *bufio.Writer
	sum    uint32
	ended  bool
	err    error // of Close, or errCancelled
}

func (k *sink) ID() string { return k.meta.ID }

func (k *sink) Write(p []byte) (int, error) {
	if k.ended {
		return 0, fmt.Errorf("write snapshot %s: %w", k.meta.ID, errors.Join(errors.New("sink is closed"), k.err))
	}
	n, err := k.buffer.Write(p)
	k.sum = crc32.Update(k.sum, castagnoli, p[:n])
	k.meta.Size += int64(n)
	return n, err
}

// Close makes the snapshot durable and lists it. A second call returns the result of the first, since both
// the state machine and raft close the sink.
func (k *sink) Close() error {
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

// publish gives the complete file its name. The order matters: the content is durable before the name
// exists, and the name before the snapshot is listed and older ones are removed.
func (k *sink) publish() error {
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

func (k *sink) writeOut() error {
	if err := k.buffer.Flush(); err != nil {
		return err
	}
	header, err := encodeHeader(k.meta, k.sum)
	if err != nil {
		return err
	}
	if _, err := k.file.WriteAt(header, 0); err != nil {
		return err
	}
	return k.file.Sync()
}

// Cancel removes the unfinished snapshot. After Close it does nothing.
func (k *sink) Cancel() error {
	if k.ended {
		return nil
	}
	k.ended, k.err = true, errCancelled
	if err := errors.Join(k.file.Close(), k.store.fsys.Remove(k.temp)); err != nil {
		return fmt.Errorf("cancel snapshot %s: %w", k.meta.ID, err)
	}
	return nil
}
