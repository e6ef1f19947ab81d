package derive

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/core/transform"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/transport"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// disk is a derivation from one partition into another, both on a disk that may lose power.
type disk struct {
	t       testing.TB
	fs      *vfs.Mem
	stable  map[string]raft.StableStore
	flush   map[string]log.FlushMode
	parts   map[string]*partition.Partition
	manager *Manager
	values  int // that were produced
}

func newDisk(t testing.TB, source, derived log.FlushMode) *disk {
	d := &disk{
		t: t, fs: vfs.NewMem(), stable: map[string]raft.StableStore{}, parts: map[string]*partition.Partition{},
		flush: map[string]log.FlushMode{"source": source, "derived": derived},
	}
	d.open()
	return d
}

func (d *disk) config(name string) partition.Config {
	return partition.Config{SegmentBytes: 256 << 10, RetentionBytes: -1, RetentionAge: -1, Flush: d.flush[name]}
}

// open opens what is on the disk, and starts the derivation.
func (d *disk) open() {
	d.t.Helper()
	for name := range d.flush {
		if d.stable[name] == nil {
			d.stable[name] = raft.NewInmemStore()
		}
		p, err := partition.Open(partition.Options{
			Name: name + "/0", Group: "partition/" + name, FS: d.fs, Dir: "data/" + name, ID: "1", Stable: d.stable[name],
			Transport: func(string) group.Transport { return transport.NewLocal("1") },
			Config:    d.config(name), Logger: slog.New(slog.DiscardHandler), OnRoll: func() {},
		})
		if err == nil {
			err = p.WaitReady(d.t.Context())
		}
		if err != nil {
			d.t.Fatal(err)
		}
		d.parts[name] = p
	}
	d.manager, _ = manage(d.t, d)
	if !d.manager.Reconcile(d.t.Context(), []Spec{{
		Derivation: &metadata.Derivation{
			ID: 7, Name: "d", Topic: "source", Output: "derived", Version: 1, StartFrom: metadata.StartEarliest,
			Stages: []metadata.Stage{commands},
		},
		Partitions: 1, Sources: []SourceAt{{Source: d.parts["source"]}},
	}}) {
		d.t.Fatal("not complete")
	}
}

func (d *disk) close() {
	d.t.Helper()
	d.manager.Close()
	for name, p := range d.parts {
		if err := p.Close(); err != nil {
			d.t.Errorf("close %s: %v", name, err)
		}
	}
}

// losePower goes on with what is on the disk now; see vfs.Mem.CrashClone.
func (d *disk) losePower(rng *rand.Rand) {
	d.t.Helper()
	left := d.fs.CrashClone(rng)
	d.close()
	d.fs = left
	d.open()
}

// Topic implements transform.Topics.
func (d *disk) Topic(name string) (transform.Topic, error) {
	if d.parts[name] == nil {
		return transform.Topic{}, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %q", name)
	}
	return transform.Topic{Name: name, Partitions: 1, MaxMessageBytes: 1 << 20, Turn: new(atomic.Uint32)}, nil
}

// Destination implements Topics.
func (d *disk) Destination(t transform.Topic, _ int32) (Destination, error) {
	return d.parts[t.Name], nil
}

// produce writes n records to the source, one at a time, none like another.
func (d *disk) produce(n int) {
	d.t.Helper()
	for range n {
		value := recordtest.Values(fmt.Sprint("k", d.values))
		d.values++
		_, err := d.parts["source"].Append(d.t.Context(), partition.Append{Data: recordtest.Build(d.t, record.BuilderOptions{}, value...)})
		if err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *disk) setFlush(name string, mode log.FlushMode) {
	d.t.Helper()
	d.flush[name] = mode
	if err := d.parts[name].Reconfigure(d.config(name)); err != nil {
		d.t.Fatal(err)
	}
}

// awaitSaved waits until everything in the source is derived and the position saved.
func (d *disk) awaitSaved() {
	d.t.Helper()
	for source := d.parts["source"]; ; {
		saved, _, err := source.Position(d.t.Context(), origin)
		if err != nil {
			d.t.Fatal(err)
		}
		if saved.Next == source.Bounds().HighWatermark {
			return
		}
	}
}

// check waits for the derivation, and compares what it made with the source.
func (d *disk) check() {
	d.t.Helper()
	d.awaitSaved()
	read := func(name string) (values []string) {
		f, err := d.parts[name].Fetch(nil, 0, 1<<20)
		if err != nil {
			d.t.Fatal(err)
		}
		return recordtest.ValuesOf(d.t, f.Batches)
	}
	wantValues(d.t, "derived", read("derived"), read("source")...)
}

var flushModes = map[string]log.FlushMode{"fsync": log.FlushFsync, "relaxed": log.FlushRelaxed}

// TestPowerLossBetweenFlushModes: the power is lost after a derivation has come to rest. Whatever the two flush
// modes are, and whatever they were when the records were written, each record that the source has is in the
// output, once.
func TestPowerLossBetweenFlushModes(t *testing.T) {
	for from, source := range flushModes {
		for to, derived := range flushModes {
			t.Run(from+" to "+to, func(t *testing.T) {
				d := newDisk(t, source, derived)
				d.produce(10)
				d.awaitSaved()
				d.losePower(nil)
				d.produce(15)
				d.check()
				for name, mode := range map[string]log.FlushMode{"source": derived, "derived": source} { // exchanged
					d.setFlush(name, mode)
				}
				d.produce(10)
				d.awaitSaved()
				d.losePower(nil)
				d.produce(15)
				d.check()
				d.close()
			})
		}
	}
}

// TestPowerLossDuringDerivation: the same at random moments, with flush modes that change.
func TestPowerLossDuringDerivation(t *testing.T) {
	const seed = 3
	rng := rand.New(rand.NewSource(seed))
	t.Logf("seed %d", seed)
	mode := func() log.FlushMode { return log.FlushMode(rng.Intn(2)) }
	d := newDisk(t, mode(), mode())
	for range 40 {
		for range 1 + rng.Intn(4) {
			d.produce(rng.Intn(8))
			d.setFlush([]string{"source", "derived"}[rng.Intn(2)], mode())
		}
		if rng.Intn(2) == 0 {
			d.awaitSaved()
		}
		d.losePower(rng)
		d.produce(1 + rng.Intn(8)) // where others may have been lost
		d.check()
	}
	d.close()
}

// TestFoundRecordsAreMadeDurable: what an earlier task has derived and not made durable is durable before the
// position behind it is saved.
func TestFoundRecordsAreMadeDurable(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	m, _ := manage(t, c)
	source, derived := c.at("source", 0), c.at("derived", 0)
	source.produce(t, recordtest.Values("k0")...)
	derived.produce(t, recordtest.Values("k0")...)
	derived.set(func() { derived.positions[origin] = partition.OffsetPosition(origin, 1) })
	m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartEarliest, commands)})
	for next := int64(0); next < 1; {
		next, _ = source.savedPosition(origin)
	}
	derived.set(func() {
		if derived.synced != 1 {
			t.Errorf("the position is saved, and the output is durable to %d of 1", derived.synced)
		}
	})
}

// TestOutputLosesItsEnd: an output that was opened anew with less than was derived into it gets that again.
func TestOutputLosesItsEnd(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	m, _ := manage(t, c)
	source, derived := c.at("source", 0), c.at("derived", 0)
	source.produce(t, recordtest.Values("k0")...)
	first, second := make(chan struct{}), make(chan struct{})
	source.set(func() { source.hold = first })
	m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartEarliest, commands)})
	<-source.held
	source.set(func() { source.hold = second })
	close(first)
	<-source.held // k0 is derived, and the position is not saved
	derived.set(func() { derived.batches, derived.next = nil, 0; delete(derived.positions, origin) })
	source.set(func() { source.hold = nil })
	close(second)
	for next := int64(0); next < 1; {
		next, _ = source.savedPosition(origin)
	}
	wantValues(t, "derived", derived.values(t), "k0")
}

// TestSourceThatCannotBeSynced: nothing is derived that may be lost, and the task says why.
func TestSourceThatCannotBeSynced(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	m, _ := manage(t, c)
	source, derived := c.at("source", 0), c.at("derived", 0)
	source.set(func() { source.relaxed, source.syncError = true, errors.New("broken") })
	source.produce(t, recordtest.Values("k0")...)
	m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartEarliest, commands)})
	for failed := false; !failed; {
		progress, err := m.Progress(7)
		failed = err == nil && progress[0].Err != ""
	}
	wantValues(t, "derived", derived.values(t))
	source.set(func() { source.syncError = nil })
	wantValues(t, "derived", derived.await(t, 1), "k0")
}
