package replica

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
)

// badSink fails at a chosen call.
type badSink struct {
	data                            bytes.Buffer
	failWrite, failClose, cancelled bool
}

func (s *badSink) ID() string { return "bad" }
func (s *badSink) Write(p []byte) (int, error) {
	if s.failWrite {
		return 0, io.ErrShortWrite
	}
	return s.data.Write(p)
}
func (s *badSink) Cancel() error { s.cancelled = true; return nil }
func (s *badSink) Close() error {
	if s.failClose {
		return io.ErrClosedPipe
	}
	return nil
}

// syncs is a log of which only Sync is called.
type syncs struct {
	Log
	err   error
	count int
}

func (s *syncs) Sync() error {
	s.count++
	return s.err
}

func TestPersistFailures(t *testing.T) {
	persist := func(l *syncs, sink *badSink) error {
		snapshot := fsmSnapshot{log: l, state: strings.NewReader("state")}
		defer snapshot.Release()
		return snapshot.Persist(sink)
	}
	torn := &badSink{failWrite: true}
	if err := persist(&syncs{}, torn); !errors.Is(err, io.ErrShortWrite) || !torn.cancelled {
		t.Errorf("a failed write: %v, cancelled %v", err, torn.cancelled)
	}
	if err := persist(&syncs{}, &badSink{failClose: true}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a failed close: %v", err)
	}
	early := &badSink{}
	if err := persist(&syncs{err: syscall.EIO}, early); !errors.Is(err, syscall.EIO) || !early.cancelled || early.data.Len() != 0 {
		t.Errorf("a log that cannot be synced: %v, cancelled %v, %d bytes", err, early.cancelled, early.data.Len())
	}
	log, good := &syncs{}, &badSink{}
	if err := persist(log, good); err != nil || good.data.String() != "state" || log.count != 1 {
		t.Errorf("got %q, %v, %d syncs", good.data.String(), err, log.count)
	}
}
