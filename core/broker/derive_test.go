package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// TestDerivationExactlyOnce stops a derivation in the middle of a stretch: one output partition has its
// records, another has no room for them. It tries again and again, the broker is restarted, there is
// room: every record is in its output once.
func TestDerivationExactlyOnce(t *testing.T) {
	dir := t.TempDir()
	var full atomic.Bool
	fsys := vfs.NewFaulty(vfs.OS(), func(op vfs.Op) error {
		if full.Load() && op.Kind == vfs.OpAllocate && strings.Contains(op.Name, "/derived.2/1/") {
			return syscall.ENOSPC
		}
		return nil
	})
	b := openWith(t, broker.Options{DataDir: dir, FS: fsys})
	createTopic(t, b, "source", 1)
	createTopic(t, b, "derived", 2)
	createTopic(t, b, "other", 1)
	fillers := fill(t, b, &full)

	// Record i is kept, dropped, or goes elsewhere; those kept are spread over both outputs by key.
	var records []broker.InputRecord
	want := map[string][]string{}
	for i := range 60 {
		command, to := "k", fmt.Sprint("derived/", record.PartitionForKey(fmt.Append(nil, i), 2))
		switch i % 5 {
		case 3:
			command, to = "d", "nowhere"
		case 4:
			command, to = "x", "other/0"
		}
		value := fmt.Sprint(command, i)
		want[to] = append(want[to], value)
		records = append(records, broker.InputRecord{Record: record.Record{Key: fmt.Append(nil, i), Value: []byte(value)}})
	}
	half := len(records) / 2
	if _, err := b.ProduceRecords(t.Context(), "source", records[:half]); err != nil {
		t.Fatal(err)
	}
	derivation := api.DerivationSpec{Topic: "source", Output: "derived", Stages: []api.Stage{commands(t, b)}}
	if _, _, err := b.PutDerivation(t.Context(), "d", derivation, nil); err != nil {
		t.Fatal(err)
	}
	// Whichever comes first, the parts of the stretch that have room get there, whole.
	early := func(to string) (in []string) {
		for _, v := range want[to] {
			if n := 0; func() bool { _, err := fmt.Sscanf(v[1:], "%d", &n); return err == nil && n < half }() {
				in = append(in, v)
			}
		}
		return in
	}
	wantValues(t, readN(t, b, "derived", 0, len(early("derived/0"))), early("derived/0")...)
	wantValues(t, readN(t, b, "other", 0, len(early("other/0"))), early("other/0")...)
	info, err := b.Derivation(t.Context(), "d")
	if err != nil || info.Progress[0].NextOffset != 0 || info.Progress[0].Lag != int64(half) {
		t.Errorf("progress of a stretch that is not finished: %+v, %v", info.Progress, err)
	}
	if _, err := b.ProduceRecords(t.Context(), "source", records[half:]); err != nil {
		t.Fatal(err)
	}
	closeBroker(t, b)

	full.Store(false)
	b = openWith(t, broker.Options{DataDir: dir, FS: fsys})
	wantValues(t, readN(t, b, "derived", 1, fillers+len(want["derived/1"]))[fillers:], want["derived/1"]...)
	wantValues(t, readN(t, b, "derived", 0, len(want["derived/0"])), want["derived/0"]...)
	wantValues(t, readN(t, b, "other", 0, len(want["other/0"])), want["other/0"]...)

	// Once more, with everything done: nothing comes twice.
	closeBroker(t, b)
	b = openWith(t, broker.Options{DataDir: dir, FS: fsys})
	if _, err := b.ProduceRecords(t.Context(), "source", []broker.InputRecord{
		{Record: record.Record{Key: []byte("a"), Value: []byte("k last")}},
	}); err != nil {
		t.Fatal(err)
	}
	last := record.PartitionForKey([]byte("a"), 2)
	got := readN(t, b, "derived", last, len(want[fmt.Sprint("derived/", last)])+int(last)*fillers+1)
	if n := slices.Index(got, "k last"); n != len(got)-1 {
		t.Errorf("the last record is number %d of %d", n, len(got))
	}
}

// fill writes to derived/1 until it has no room, and returns how many records that took.
func fill(t testing.TB, b *broker.Broker, full *atomic.Bool) (records int) {
	t.Helper()
	full.Store(true)
	for size := 256 << 10; size > 0; {
		_, err := b.ProduceBatches(t.Context(), "derived", 1, batch(t, strings.Repeat("x", size)))
		if err == nil {
			records++
			continue
		}
		wantCode(t, err, errcode.DiskFull)
		size /= 4
	}
	return records
}

// TestDerivationStartsAndStops: a derivation that begins at the latest record takes none before it, one
// that is deleted takes none after it, and one whose stages change goes on where it was.
func TestDerivationStartsAndStops(t *testing.T) {
	b := open(t, t.TempDir())
	createTopic(t, b, "source", 1)
	createTopic(t, b, "derived", 1)
	stage := commands(t, b)
	produce(t, b, "source", 0, "k before")
	put := func(stages ...api.Stage) {
		t.Helper()
		d := api.DerivationSpec{Topic: "source", Output: "derived", StartFrom: api.StartLatest, Stages: stages}
		if _, _, err := b.PutDerivation(t.Context(), "d", d, nil); err != nil {
			t.Fatal(err)
		}
	}
	put(stage)
	produce(t, b, "source", 0, "e1x")
	wantValues(t, readN(t, b, "derived", 0, 1), "e1")
	put(stage, stage)
	produce(t, b, "source", 0, "e2xx")
	wantValues(t, readN(t, b, "derived", 0, 2), "e1", "e2")
	if _, err := b.AlterTopic(t.Context(), "source", api.TopicChange{Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	produce(t, b, "source", 1, "e3xx")
	wantValues(t, readN(t, b, "derived", 0, 3), "e1", "e2", "e3")
	if err := b.DeleteDerivation(t.Context(), "d", nil); err != nil {
		t.Fatal(err)
	}
	produce(t, b, "source", 0, "k after")
	got, _ := read(t, b, "derived", 0, 0)
	wantValues(t, got, "e1", "e2", "e3")
	if err := b.DeleteTopic(t.Context(), "derived"); err != nil {
		t.Errorf("the output of a derivation that is gone: %v", err)
	}
}
