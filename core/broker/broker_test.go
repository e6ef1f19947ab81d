package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open starts a broker on a directory; the test closes it unless it did so itself.
func open(t testing.TB, dir string) *broker.Broker {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Options{DataDir: dir, Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t testing.TB, b *broker.Broker) {
	t.Helper()
	if err := b.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func createTopic(t testing.TB, b *broker.Broker, name string, partitions int32) {
	t.Helper()
	if _, err := b.CreateTopic(t.Context(), api.TopicSpec{Name: name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
}

// batch is a record batch of the present time; the keys count from 0.
func batch(t testing.TB, values ...string) []byte {
	t.Helper()
	records := recordtest.At(time.Now().UnixMilli(), recordtest.Values(values...))
	for i := range records {
		records[i].Key = fmt.Append(nil, i)
	}
	return recordtest.Build(t, record.BuilderOptions{}, records...)
}

// read returns the values of a partition from an offset on, and where to go on.
func read(t testing.TB, b *broker.Broker, topic string, partition int32, offset int64) ([]string, int64) {
	t.Helper()
	resp, err := b.Fetch(t.Context(), broker.FetchRequest{Partitions: []broker.FetchPartition{
		{Topic: topic, Partition: partition, Offset: offset},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Release()
	p := resp.Partitions[0]
	if p.Err != nil {
		t.Fatal(p.Err)
	}
	return recordtest.ValuesOf(t, p.Batches), p.NextOffset
}

func wantCode(t testing.TB, err error, code errcode.Code) {
	t.Helper()
	if !errcode.Is(err, code) {
		t.Fatalf("error %v; want %v", err, code)
	}
}

func TestProduceFetchRestart(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	createTopic(t, b, "orders", 3)
	result, err := b.ProduceBatches(t.Context(), "orders", 1, batch(t, "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if p := result.Partitions[0]; p.BaseOffset != 0 || p.Count != 2 || p.Partition != 1 {
		t.Errorf("result %+v", p)
	}
	closeBroker(t, b)

	b = open(t, dir)
	if got, next := read(t, b, "orders", 1, 0); len(got) != 2 || next != 2 {
		t.Errorf("after a restart: %q, next %d", got, next)
	}
	_, err = b.ProduceBatches(t.Context(), "nothing", 0, batch(t, "a"))
	wantCode(t, err, errcode.UnknownTopicOrPartition)
	_, err = b.ProduceBatches(t.Context(), "orders", 7, batch(t, "a"))
	wantCode(t, err, errcode.UnknownTopicOrPartition)
}

func TestSplitByKeySendsKeysWhereKafkaDoes(t *testing.T) {
	b := open(t, t.TempDir())
	createTopic(t, b, "orders", 4)
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprint(i))
	}
	result, err := b.ProduceBatches(t.Context(), "orders", broker.AnyPartition, batch(t, keys...))
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, p := range result.Partitions {
		values, _ := read(t, b, "orders", p.Partition, 0)
		for _, v := range values { // value i has key i
			if want := record.PartitionForKey([]byte(v), 4); want != p.Partition {
				t.Errorf("key %s lies in partition %d, murmur2 says %d", v, p.Partition, want)
			}
		}
		total += len(values)
	}
	if total != len(keys) {
		t.Errorf("%d records of %d", total, len(keys))
	}
}

func TestFetchWaitsForRecords(t *testing.T) {
	b := open(t, t.TempDir())
	createTopic(t, b, "orders", 2)
	type answer struct {
		next int64
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		resp, err := b.Fetch(t.Context(), broker.FetchRequest{
			Partitions: []broker.FetchPartition{{Topic: "orders", Partition: 0}, {Topic: "orders", Partition: 1}},
			Wait:       time.Hour,
		})
		if err != nil {
			answers <- answer{err: err}
			return
		}
		defer resp.Release()
		answers <- answer{next: resp.Partitions[1].NextOffset}
	}()
	if _, err := b.ProduceBatches(t.Context(), "orders", 1, batch(t, "a")); err != nil {
		t.Fatal(err)
	}
	if a := <-answers; a.err != nil || a.next != 1 {
		t.Errorf("the waiting fetch got %+v", a)
	}
}

func TestDeletedTopicLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	createTopic(t, b, "orders", 2)
	if _, err := b.ProduceBatches(t.Context(), "orders", 0, batch(t, "old")); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	_, err := b.ProduceBatches(t.Context(), "orders", 0, batch(t, "a"))
	wantCode(t, err, errcode.UnknownTopicOrPartition)
	createTopic(t, b, "orders", 1)
	if got, _ := read(t, b, "orders", 0, 0); len(got) != 0 {
		t.Errorf("a new topic of the same name holds %q", got)
	}
}

func TestSecondBrokerOnADirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := broker.Open(t.Context(), broker.Options{DataDir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Fatal("a second broker opened the same directory")
	}
	t.Log(err)
}
