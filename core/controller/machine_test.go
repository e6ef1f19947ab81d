package controller

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
)

func TestBatchIsPublishedOnce(t *testing.T) {
	var logs bytes.Buffer
	m := newMachine(slog.New(slog.NewTextHandler(&logs, nil)), 2)
	entry := func(index uint64, c metadata.Command) *raft.Log {
		data, err := metadata.EncodeEntry(metadata.Entry{At: noon, Command: c})
		if err != nil {
			t.Fatal(err)
		}
		return &raft.Log{Index: index, Type: raft.LogCommand, Data: data}
	}
	watch := m.watch()
	answers := m.ApplyBatch([]*raft.Log{
		{Index: 1, Type: raft.LogConfiguration, Data: []byte("not ours")},
		entry(2, metadata.CreateTopic{Name: "a"}),
		{Index: 3, Type: raft.LogCommand, Data: []byte(`{"type":"fly","v":1,"at":"2026-03-01T12:00:00Z","data":{}}`)},
		entry(4, metadata.CreateTopic{Name: "a"}),
		entry(5, metadata.CreateTopic{Name: "b"}),
	})
	<-watch
	if len(answers) != 5 || answers[0] != nil {
		t.Fatalf("got %v", answers)
	}
	for n, want := range []errcode.Code{0, errcode.UnsupportedVersion, errcode.TopicAlreadyExists, 0} {
		err := answers[n+1].(answer).err
		if want == 0 && err != nil || want != 0 && !errcode.Is(err, want) {
			t.Errorf("entry %d: %v, want %v", n+2, err, want)
		}
	}
	if m.image.Load().Version() != 2 || len(m.due) != 1 {
		t.Fatalf("version %d, snapshots due %d", m.image.Load().Version(), len(m.due))
	}
	if !strings.Contains(logs.String(), "fly") {
		t.Fatalf("an unknown command is not logged: %s", &logs)
	}
	watch = m.watch()
	m.Apply(entry(6, metadata.CreateTopic{Name: "a"})) // changes nothing
	select {
	case <-watch:
		t.Fatal("watchers were woken for nothing")
	default:
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	m := newMachine(slog.New(slog.DiscardHandler), 1)
	if err := m.Restore(io.NopCloser(strings.NewReader("junk"))); !errors.Is(err, metadata.ErrSnapshotCorrupt) {
		t.Fatalf("got %v", err)
	}
	if err := m.Restore(io.NopCloser(bytes.NewReader(encode(t, world(t))))); err != nil || m.image.Load().Topic("orders") == nil {
		t.Fatalf("got %v", err)
	}
}

// badSink fails at a chosen call.
type badSink struct {
	bytes.Buffer
	failWrite, failClose, cancelled bool
}

func (s *badSink) ID() string { return "bad" }
func (s *badSink) Write(p []byte) (int, error) {
	if s.failWrite {
		return 0, io.ErrShortWrite
	}
	return s.Buffer.Write(p)
}
func (s *badSink) Cancel() error { s.cancelled = true; return nil }
func (s *badSink) Close() error {
	if s.failClose {
		return io.ErrClosedPipe
	}
	return nil
}

func TestPersistFailures(t *testing.T) {
	snapshot := imageSnapshot{world(t)}
	torn := &badSink{failWrite: true}
	if err := snapshot.Persist(torn); !errors.Is(err, io.ErrShortWrite) || !torn.cancelled {
		t.Fatalf("got %v, cancelled %v", err, torn.cancelled)
	}
	if err := snapshot.Persist(&badSink{failClose: true}); !errors.Is(err, io.ErrClosedPipe) {
		t.Fatalf("got %v", err)
	}
	good := &badSink{}
	if err := snapshot.Persist(good); err != nil || !bytes.Equal(good.Bytes(), encode(t, snapshot.image)) {
		t.Fatalf("got %v", err)
	}
	snapshot.Release()
}
