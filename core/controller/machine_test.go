package controller

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/replica"
)

func TestBatchIsPublishedOnce(t *testing.T) {
	m := newMachine(2)
	entry := func(index uint64, c metadata.Command) replica.Entry {
		data, err := metadata.EncodeEntry(metadata.Entry{At: noon, Command: c})
		if err != nil {
			t.Fatal(err)
		}
		return replica.Entry{Index: index, Data: data}
	}
	watch := m.watch()
	entries := []replica.Entry{
		entry(2, metadata.CreateTopic{Name: "a"}),
		entry(3, metadata.DeleteTopic{Name: "b"}),
		entry(4, metadata.CreateTopic{Name: "a"}),
		entry(5, metadata.CreateTopic{Name: "b"}),
	}
	if applied, err := m.Apply(entries); applied != 4 || err != nil {
		t.Fatalf("%d applied, %v", applied, err)
	}
	<-watch
	for n, want := range []errcode.Code{0, errcode.UnknownTopicOrPartition, errcode.TopicAlreadyExists, 0} {
		err := entries[n].Answer.(answer).err
		if want == 0 && err != nil || want != 0 && !errcode.Is(err, want) {
			t.Errorf("entry %d: %v, want %v", n+2, err, want)
		}
	}
	if m.image.Load().Version() != 2 || len(m.due) != 1 {
		t.Fatalf("version %d, snapshots due %d", m.image.Load().Version(), len(m.due))
	}
	watch = m.watch()
	if applied, err := m.Apply([]replica.Entry{entry(6, metadata.CreateTopic{Name: "a"})}); applied != 1 || err != nil { // changes nothing
		t.Fatalf("%d applied, %v", applied, err)
	}
	select {
	case <-watch:
		t.Fatal("watchers were woken for nothing")
	default:
	}
}

// TestUnknownCommandStopsTheMachine: what a newer version of the broker wrote is neither applied nor passed
// over.
func TestUnknownCommandStopsTheMachine(t *testing.T) {
	known := func(name string) []byte {
		data, err := metadata.EncodeEntry(metadata.Entry{At: noon, Command: metadata.CreateTopic{Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, unknown := range []string{
		`{"type":"fly","v":1,"at":"2026-03-01T12:00:00Z","data":{}}`,
		`{"type":"create_topic","v":99,"at":"2026-03-01T12:00:00Z","data":{"name":"x"}}`,
		`{"type":"create_topic","v":1,"at":"2026-03-01T12:00:00Z","data":{"name":"x","colour":"red"}}`,
		`garbled`,
	} {
		m := newMachine(2)
		applied, err := m.Apply([]replica.Entry{
			{Index: 2, Data: known("a")}, {Index: 3, Data: []byte(unknown)}, {Index: 4, Data: known("b")},
		})
		if applied != 1 || err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("%s: %d applied, %v", unknown, applied, err)
		}
		if image := m.image.Load(); image.Topic("a") == nil || image.Topic("b") != nil || image.Version() != 1 {
			t.Errorf("%s: the image is of version %d", unknown, image.Version())
		}
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	m := newMachine(1)
	if err := m.Restore(strings.NewReader("junk")); !errors.Is(err, metadata.ErrSnapshotCorrupt) {
		t.Fatalf("got %v", err)
	}
	if err := m.Restore(bytes.NewReader(encode(t, world(t)))); err != nil || m.image.Load().Topic("orders") == nil {
		t.Fatalf("got %v", err)
	}
}

// badWriter takes nothing.
type badWriter struct{}

func (badWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestSnapshotIsTheImage(t *testing.T) {
	m := newMachine(1)
	m.publish(world(t))
	snapshot, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	want := encode(t, m.image.Load())
	m.publish(metadata.NewImage()) // what comes later is not in it
	if _, err := snapshot.WriteTo(badWriter{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a failed write: %v", err)
	}
	var out bytes.Buffer
	if n, err := snapshot.WriteTo(&out); err != nil || n != int64(len(want)) || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%d bytes, %v", n, err)
	}
}
