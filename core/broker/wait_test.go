package broker_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/wasm/engine"
)

// watcher counts the reads of fetches and tells of each.
type watcher struct {
	engine.NoObserver
	reads atomic.Int64
	read  chan struct{} // one token for every read, as far as they fit
}

func newWatcher() *watcher { return &watcher{read: make(chan struct{}, 100)} }

func (w *watcher) Received(string, int, int, int)         {}
func (w *watcher) Produced(string, *broker.ProduceResult) {}
func (w *watcher) Fetched(*broker.FetchResponse)          {}
func (w *watcher) Log(string, int32) log.Observer         { return nil }

func (w *watcher) Phase(phase string, _ time.Duration) {
	if phase != "read" {
		return
	}
	w.reads.Add(1)
	select {
	case w.read <- struct{}{}:
	default:
	}
}

func openWith(t testing.TB, o broker.Options) *broker.Broker {
	t.Helper()
	o.Logger, o.Version = slog.New(slog.DiscardHandler), "test"
	b, err := broker.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

// TestDeletedTopicEndsWaits: whoever waits for a topic's records when it is deleted is told at once, and
// does not look for them again and again.
func TestDeletedTopicEndsWaits(t *testing.T) {
	w := newWatcher()
	b := openWith(t, broker.Options{DataDir: t.TempDir(), Observer: w})
	createTopic(t, b, "gone", 2)
	createTopic(t, b, "stays", 1)
	produce(t, b, "gone", 0, "a")
	requests := []broker.FetchRequest{
		fetchOf("gone", 0, 1),
		fetchOf("gone", 1, 0),
		{Partitions: []broker.FetchPartition{{Topic: "stays"}, {Topic: "gone", Partition: 1}}},
		{Partitions: []broker.FetchPartition{{Topic: "gone"}}, MinBytes: 1 << 20}, // has something, wants more
	}
	type answer struct {
		request int
		resp    *broker.FetchResponse
		err     error
	}
	answers := make(chan answer, len(requests))
	for i, req := range requests {
		req.Wait = time.Hour
		go func() {
			resp, err := b.Fetch(context.Background(), req)
			answers <- answer{i, resp, err}
		}()
	}
	for range requests {
		<-w.read // all of them have looked once and go on to wait
	}
	if err := b.DeleteTopic(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	for range requests {
		a := <-answers
		if a.err != nil {
			t.Fatal(a.err)
		}
		last := a.resp.Partitions[len(a.resp.Partitions)-1]
		wantCode(t, last.Err, errcode.UnknownTopicOrPartition)
		if len(a.resp.Partitions) > 1 && a.resp.Partitions[0].Err != nil {
			t.Errorf("request %d: %v", a.request, a.resp.Partitions[0].Err)
		}
		a.resp.Release()
	}
	if n := w.reads.Load(); n > int64(2*len(requests)) {
		t.Errorf("%d fetches read %d times", len(requests), n)
	}
}

// TestFetchOfLessThanMinBytes: at the end of the wait what is there is the answer.
func TestFetchOfLessThanMinBytes(t *testing.T) {
	b := open(t, t.TempDir())
	createTopic(t, b, "orders", 1)
	produce(t, b, "orders", 0, "a", "b")
	req := fetchOf("orders", 0, 0)
	req.MinBytes, req.Wait = 1<<20, time.Millisecond
	resp, err := b.Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Release()
	wantValues(t, recordtest.ValuesOf(t, resp.Partitions[0].Batches), "a", "b")
}

// TestFetchKeepsToItsMemory: an answer over many partitions is no larger than all answers together may
// be, but for a batch.
func TestFetchKeepsToItsMemory(t *testing.T) {
	const room = 64 << 10
	memory, err := admission.New(4 * room)
	if err != nil || memory.Answers.Limit() != room {
		t.Fatalf("answers have %+v, %v", memory, err)
	}
	b := openWith(t, broker.Options{DataDir: t.TempDir(), Admission: memory})
	createTopic(t, b, "orders", 8)
	var req broker.FetchRequest
	for i := range int32(8) {
		produce(t, b, "orders", i, strings.Repeat("x", 30<<10))
		req.Partitions = append(req.Partitions, broker.FetchPartition{Topic: "orders", Partition: i})
	}
	got := map[int32]bool{}
	for range 8 {
		resp, err := b.Fetch(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		req.Partitions = req.Partitions[:0]
		for _, p := range resp.Partitions {
			if p.Err != nil || p.HighWatermark != 1 {
				t.Fatalf("partition %d: %+v", p.Partition, p)
			}
			bytes += len(p.Batches)
			got[p.Partition] = got[p.Partition] || len(p.Batches) > 0
			if p.NextOffset == 0 {
				req.Partitions = append(req.Partitions, broker.FetchPartition{Topic: "orders", Partition: p.Partition})
			}
		}
		resp.Release()
		if bytes > room+31<<10 {
			t.Errorf("an answer of %d bytes where %d are the most", bytes, room)
		}
		if len(req.Partitions) == 0 {
			break
		}
	}
	if len(got) != 8 || len(req.Partitions) > 0 {
		t.Errorf("partitions read: %v", got)
	}
}
