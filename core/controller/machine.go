package controller

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/replica"
)

// machine is the metadata as a replica drives it: it applies what was committed, in order, from one
// goroutine, and publishes the image that results. It implements replica.StateMachine.
type machine struct {
	every       uint64                         // entries between snapshots
	image       atomic.Pointer[metadata.Image] // never nil
	snapshotted atomic.Uint64                  // index of the newest snapshot, as far as is known
	due         chan struct{}                  // has an element when a snapshot is due

	// mu covers changed. An image is stored and the channel closed in one critical section: a caller that
	// takes the channel first and loads the image then cannot miss a later image.
	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever image was
}

func newMachine(every uint64) *machine {
	m := &machine{every: every, due: make(chan struct{}, 1), changed: make(chan struct{})}
	m.image.Store(metadata.NewImage())
	return m
}

// answer is what the proposer gets.
type answer struct {
	result metadata.Result
	err    error // an *errcode.Error: the command was refused
}

// Apply applies entries in order and publishes the image once, before any proposer hears of it. An entry
// that it cannot decode stops the replica: its proposer could encode it, so that a newer version of the
// broker wrote it and applies it, or it is damaged. Passing over it would make this replica's state another
// one than the others' for good.
func (m *machine) Apply(entries []replica.Entry) (int, error) {
	before := m.image.Load()
	image, applied := before, 0
	var stop error
	for n := range entries {
		command, err := metadata.DecodeEntry(entries[n].Data)
		if err != nil {
			stop = fmt.Errorf("%w; run the version of the broker that wrote it, or a newer one", err)
			break
		}
		var a answer
		image, a.result, a.err = metadata.Apply(image, command)
		entries[n].Answer = a
		applied++
	}
	if image != before {
		m.publish(image)
	}
	if applied > 0 && entries[applied-1].Index >= m.snapshotted.Load()+m.every {
		select {
		case m.due <- struct{}{}:
		default: // one is due already
		}
	}
	return applied, stop
}

func (m *machine) publish(image *metadata.Image) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.image.Store(image)
	close(m.changed)
	m.changed = make(chan struct{})
}

// watch is closed at the first change after the call.
func (m *machine) watch() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// waitVersion waits for an image whose version is above after.
func (m *machine) waitVersion(ctx context.Context, after uint64) (*metadata.Image, error) {
	for {
		changed := m.watch() // before the image is read: a change in between is not missed
		if image := m.image.Load(); image.Version() > after {
			return image, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Snapshot captures the current image, which is a pointer. It is encoded when it is written.
func (m *machine) Snapshot() (io.WriterTo, error) { return imageSnapshot{m.image.Load()}, nil }

// Restore replaces the image by a snapshot's.
func (m *machine) Restore(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, metadata.MaxImageBytes+1))
	if err != nil {
		return fmt.Errorf("read metadata snapshot: %w", err)
	}
	if len(data) > metadata.MaxImageBytes {
		return fmt.Errorf("read metadata snapshot: %w: it is over %d bytes", metadata.ErrSnapshotCorrupt, metadata.MaxImageBytes)
	}
	image, err := metadata.DecodeImage(data)
	if err != nil {
		return err
	}
	m.publish(image)
	return nil
}

// imageSnapshot is a captured image.
type imageSnapshot struct{ image *metadata.Image }

// WriteTo writes the image.
func (s imageSnapshot) WriteTo(w io.Writer) (int64, error) {
	data, err := s.image.Encode()
	if err != nil {
		return 0, err
	}
	n, err := w.Write(data)
	if err != nil {
		err = fmt.Errorf("write metadata snapshot: %w", err)
	}
	return int64(n), err
}
