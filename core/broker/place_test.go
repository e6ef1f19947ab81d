package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/vfs"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// start opens a broker for a test that looks inside.
func start(t testing.TB, o Options) *Broker {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	o.Logger, o.Version = slog.New(slog.DiscardHandler), "test"
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func makeTopic(t testing.TB, b *Broker, name string, partitions int32) {
	t.Helper()
	if _, err := b.CreateTopic(t.Context(), api.TopicSpec{Name: name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
}

// pushCommands stores wasmtest.Commands and returns a stage of it.
func pushCommands(t testing.TB, b *Broker) []api.Stage {
	t.Helper()
	if _, _, err := b.PutModule(t.Context(), "commands", wasmtest.Commands(0)); err != nil {
		t.Fatal(err)
	}
	return []api.Stage{{Module: "commands"}}
}

func put(t testing.TB, b *Broker, topicName string, number int32, values ...string) *ProduceResult {
	t.Helper()
	result, err := b.ProduceBatches(t.Context(), topicName, number, recordtest.Batch(t, values...))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// fetchOne reads one partition from its beginning.
func fetchOne(t testing.TB, b *Broker, topicName string, number int32) ([]string, *errcode.Error) {
	t.Helper()
	resp, err := b.Fetch(t.Context(), FetchRequest{Partitions: []FetchPartition{{Topic: topicName, Partition: number}}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Release()
	return recordtest.ValuesOf(t, resp.Partitions[0].Batches), resp.Partitions[0].Err
}

func wantCode(t testing.TB, what string, err error, code errcode.Code) *errcode.Error {
	t.Helper()
	if !errcode.Is(err, code) {
		t.Fatalf("%s: %v; want %v", what, err, code)
	}
	return errcode.From(err)
}

// move gives a partition another place, as a table of a cluster would.
func move(t testing.TB, b *Broker, topicName string, number int32, at place) (back func()) {
	t.Helper()
	top := b.catalog.table().topics[topicName]
	old := top.now()
	moved := *old
	moved.places = slices.Clone(old.places)
	at.name = old.places[number].name
	moved.places[number] = at
	top.state.Store(&moved)
	return func() { top.state.Store(old) }
}

// TestPartitionLedElsewhere: every call that needs a partition which another broker leads is answered with
// who that is; the other partitions of the topic are served, and the number of partitions is still that of the
// metadata.
func TestPartitionLedElsewhere(t *testing.T) {
	b := start(t, Options{})
	stages := pushCommands(t, b)
	makeTopic(t, b, "orders", 4)
	makeTopic(t, b, wasmtest.CommandTopic, 3)
	makeTopic(t, b, "routing", 1)
	if _, _, err := b.SetPipeline(t.Context(), "routing", api.PipelineSpec{Stages: stages}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.PutView(t.Context(), "seen", api.ViewSpec{Topic: "orders", Stages: stages}, nil); err != nil {
		t.Fatal(err)
	}
	elsewhere := place{leader: &remote{id: "2", http: "http://broker-2:8640"}}
	defer move(t, b, "orders", 1, elsewhere)()
	defer move(t, b, wasmtest.CommandTopic, 2, elsewhere)()

	_, fetched := fetchOne(t, b, "orders", 1)
	_, viewed := fetchOne(t, b, "seen", 1)
	_, produced := b.ProduceBatches(t.Context(), "orders", 1, recordtest.Batch(t, "a"))
	_, single := b.ProduceRecords(t.Context(), "orders", []InputRecord{{Record: record.Record{Value: []byte("a")}, Partition: 1}})
	_, resolved := b.ResolveOffset(t.Context(), "orders", 1, OffsetSpec{At: OffsetLatest})
	_, routed := b.ProduceBatches(t.Context(), "routing", 0, recordtest.Batch(t, "c"))
	_, found := b.writer.find(b.catalog.table().topics["orders"].now().routing(), 1)
	if found != nil {
		t.Errorf("a place elsewhere is not found: %v", found)
	}
	for what, err := range map[string]error{
		"fetch": fetched, "fetch through a view": viewed, "produce batches": produced, "produce records": single,
		"resolve an offset": resolved, "route": routed,
	} {
		e := wantCode(t, what, err, errcode.NotLeaderOrFollower)
		if e.Fields["leader_id"] != "2" || e.Fields["leader"] != "http://broker-2:8640" {
			t.Errorf("%s: the leader is not named: %v", what, e.Fields)
		}
	}

	// By key: each record goes where the metadata's four partitions put it, and one partition refuses.
	records := recordtest.Numbered(40)
	result, err := b.ProduceBatches(t.Context(), "orders", AnyPartition, recordtest.Build(t, record.BuilderOptions{}, records...))
	if err != nil || len(result.Partitions) != 4 {
		t.Fatalf("%+v, %v", result, err)
	}
	want := map[int32]int{}
	for _, r := range records {
		want[record.PartitionForKey(r.Key, 4)]++
	}
	for _, p := range result.Partitions {
		if refused := p.Error != nil; refused != (p.Partition == 1) || !refused && p.Count != want[p.Partition] {
			t.Errorf("partition %d: %+v, want %d records", p.Partition, p, want[p.Partition])
		}
	}
	info, err := b.Topic(t.Context(), "orders")
	if err != nil || info.Partitions != 4 || len(info.State) != 4 || info.State[1].Leader != "2" || info.State[0].Leader != "1" || info.State[1].Error != "" {
		t.Errorf("described as %+v, %v", info, err)
	}
	seen := 0
	b.EachPartition(func(name string, _ api.PartitionState) {
		if name == "orders" {
			seen++
		}
	})
	if brokers, err := b.Brokers(t.Context()); seen != 3 || err != nil || brokers[0].Partitions != 3+2+1 || b.Ready() != nil {
		t.Errorf("%d partitions are counted here, %+v, ready: %v", seen, brokers, b.Ready())
	}
}

// TestDerivationBesidePartitionsElsewhere: a partition of the source that another broker leads is that
// broker's to derive from, and one of the output that is elsewhere holds up what goes there, not the rest.
func TestDerivationBesidePartitionsElsewhere(t *testing.T) {
	b := start(t, Options{})
	stages := pushCommands(t, b)
	makeTopic(t, b, "source", 2)
	makeTopic(t, b, "derived", 3)
	elsewhere := place{leader: &remote{id: "2"}}
	defer move(t, b, "source", 1, elsewhere)()
	back := move(t, b, "derived", 2, elsewhere)
	var keyed [3]string // a key for each partition of the output
	for i := 0; slices.Contains(keyed[:], ""); i++ {
		key := fmt.Sprint("key", i)
		keyed[record.PartitionForKey([]byte(key), 3)] = key
	}
	var records []record.Record
	for i, key := range keyed {
		records = append(records, record.Record{Timestamp: 1, Key: []byte(key), Value: fmt.Append(nil, "k", i)})
	}
	if _, err := b.ProduceBatches(t.Context(), "source", 0, recordtest.Build(t, record.BuilderOptions{}, records...)); err != nil {
		t.Fatal(err)
	}
	spec := api.DerivationSpec{Topic: "source", Output: "derived", Stages: stages}
	if _, _, err := b.PutDerivation(t.Context(), "d", spec, nil); err != nil {
		t.Fatal(err)
	}
	await(t, b, "derived", 0, "k0")
	await(t, b, "derived", 1, "k1")
	for { // the records are there before the attempt has failed
		info, err := b.Derivation(t.Context(), "d")
		if err != nil || len(info.Progress) != 1 {
			t.Fatalf("%+v, %v", info, err)
		}
		if p := info.Progress[0]; p.Error != "" {
			if !strings.Contains(p.Error, "led by broker 2") || p.NextOffset != 0 || p.Lag != 3 {
				t.Errorf("progress %+v", p)
			}
			break
		}
	}
	back()
	await(t, b, "derived", 2, "k2")
	got, err := fetchOne(t, b, "derived", 0)
	if err != nil || !slices.Equal(got, []string{"k0"}) {
		t.Errorf("the first output has %q, %v", got, err)
	}
}

// await waits until a partition has exactly these values.
func await(t testing.TB, b *Broker, topicName string, number int32, want ...string) {
	t.Helper()
	resp, err := b.Fetch(t.Context(), FetchRequest{
		Partitions: []FetchPartition{{Topic: topicName, Partition: number}}, MinBytes: 1, Wait: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Release()
	if got := recordtest.ValuesOf(t, resp.Partitions[0].Batches); !slices.Equal(got, want) {
		t.Fatalf("%s/%d has %q, want %q", topicName, number, got, want)
	}
}

// TestDamagedPartitionStandsAlone damages one partition of a topic between two starts: the others serve, it
// answers everything with the reason, and it can be deleted with its topic.
func TestDamagedPartitionStandsAlone(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{DataDir: dir})
	stages := pushCommands(t, b)
	makeTopic(t, b, "orders", 3)
	makeTopic(t, b, "copies", 3)
	spec := api.DerivationSpec{Topic: "orders", Output: "copies", Stages: stages}
	if _, _, err := b.PutDerivation(t.Context(), "copy", spec, nil); err != nil {
		t.Fatal(err)
	}
	for number := range int32(3) {
		for _, v := range []string{"a first value", "a second value", "a third value"} {
			put(t, b, "orders", number, v)
		}
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := flipByte(t, dir, "orders.1/1", "a second value")

	b = start(t, Options{DataDir: dir})
	if got := put(t, b, "orders", 0, "a fourth value").Partitions[0]; got.BaseOffset != 3 {
		t.Errorf("beside the damaged partition: %+v", got)
	}
	_, fetched := fetchOne(t, b, "orders", 1)
	wantCode(t, "fetch", fetched, errcode.CorruptMessage)
	_, err := b.ResolveOffset(t.Context(), "orders", 1, OffsetSpec{At: OffsetAtTime, Time: time.Now()})
	wantCode(t, "look up a time", err, errcode.CorruptMessage)
	_, err = b.ProduceBatches(t.Context(), "orders", 1, recordtest.Batch(t, "a"))
	e := wantCode(t, "produce", err, errcode.StorageFailed)
	if !strings.Contains(e.Detail, file) || !strings.Contains(e.Detail, "verify its log") {
		t.Errorf("the reason is not told: %s", e.Detail)
	}
	d, err := b.writer.find(b.catalog.table().topics["orders"].now().routing(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := d.Position(t.Context(), "derivation/1/0"); ok || !errcode.Is(err, errcode.StorageFailed) {
		t.Errorf("a damaged partition has a position: %v, %v", ok, err)
	}
	if _, err := d.Append(t.Context(), partition.Append{}); !errcode.Is(err, errcode.StorageFailed) {
		t.Errorf("a damaged partition takes an append: %v", err)
	}
	info, err := b.Topic(t.Context(), "orders")
	if err != nil || len(info.State) != 3 || info.State[0].Error != "" || !strings.Contains(info.State[1].Error, file) {
		t.Fatalf("described as %+v, %v", info, err)
	}
	if s := info.State[1]; s.HighWatermark != 0 || s.LogStartOffset != 0 || s.SizeBytes != 0 || b.Ready() == nil {
		t.Errorf("a damaged partition claims to hold something: %+v", s)
	}
	derivation, err := b.Derivation(t.Context(), "copy")
	if err != nil || len(derivation.Progress) != 3 || !strings.Contains(derivation.Progress[1].Error, file) || derivation.Progress[0].Error != "" {
		t.Errorf("the derivation has come to %+v, %v", derivation, err)
	}
	b.maintenance.partitions(true)
	if _, err := b.AlterTopic(t.Context(), "orders", api.TopicChange{Partitions: 4}); err != nil {
		t.Errorf("growing a topic with a damaged partition: %v", err)
	}
	put(t, b, "orders", 3, "in the new one")
	if err := errors.Join(b.DeleteDerivation(t.Context(), "copy", nil), b.DeleteTopic(t.Context(), "orders")); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "partitions", "orders.*")); err != nil || len(left) > 0 {
		t.Errorf("left of the topic: %q, %v", left, err)
	}
}

// flipByte changes a byte of text where a segment of a partition holds it.
func flipByte(t *testing.T, data, partitionDir, text string) (file string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(data, "partitions", partitionDir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range segments {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Index(string(content), text)
		if at < 0 {
			continue
		}
		content[at] ^= 0x10
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Fatalf("no segment of %q holds %q", segments, text)
	return ""
}

// TestPartitionThatCannotBeOpened: one partition has no room when the topic is made, the others serve at
// once, and it follows by itself as soon as there is room.
func TestPartitionThatCannotBeOpened(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	fsys := vfs.NewFaulty(vfs.OS(), func(op vfs.Op) error {
		if full.Load() && op.Kind == vfs.OpAllocate && strings.Contains(op.Name, "/orders.1/1/") {
			return syscall.ENOSPC
		}
		return nil
	})
	b := start(t, Options{FS: fsys})
	_, err := b.CreateTopic(t.Context(), api.TopicSpec{Name: "orders", Partitions: 3})
	wantCode(t, "create", err, errcode.DiskFull)
	put(t, b, "orders", 0, "a")
	put(t, b, "orders", 2, "b")
	_, err = b.ProduceBatches(t.Context(), "orders", 1, recordtest.Batch(t, "c"))
	if e := wantCode(t, "produce", err, errcode.NotLeaderOrFollower); e.Fields["leader_id"] != nil || e.Fields["retry_after_ms"] == nil {
		t.Errorf("fields %v", e.Fields)
	}
	if err := b.Ready(); err != nil {
		t.Errorf("one partition without room makes the whole broker unready: %v", err)
	}
	info, err := b.Topic(t.Context(), "orders")
	if err != nil || len(info.State) != 3 || info.State[1].Error == "" || info.State[0].HighWatermark != 1 {
		t.Errorf("described as %+v, %v", info, err)
	}
	// Changes that do not concern it are made without its failure.
	makeTopic(t, b, "another", 1)
	if _, err := b.AlterTopic(t.Context(), "orders", api.TopicChange{Partitions: 4}); !errcode.Is(err, errcode.DiskFull) {
		t.Errorf("a change of the topic itself: %v", err)
	}
	put(t, b, "orders", 3, "d")
	full.Store(false)
	b.reconciler.retry()
	put(t, b, "orders", 1, "c")
	if err := b.Ready(); err != nil {
		t.Error(err)
	}
}
