package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

func newProducer(t *testing.T, c *Client, o ProducerOptions) *Producer {
	t.Helper()
	o.Topic = "t"
	p, err := NewProducer(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// collector gathers reports by value.
type collector struct {
	mu      sync.Mutex
	reports map[string][]Report
}

func newCollector() *collector { return &collector{reports: map[string][]Report{}} }

func (c *collector) of(value string) func(Report) {
	return func(r Report) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reports[value] = append(c.reports[value], r)
	}
}

// exactlyOnce lists what is wrong with the delivery of n records to each partition, each of which
// was sent in order: missing, repeated or out of order, or told the wrong offset.
func exactlyOnce(t *testing.T, f *fakeBroker, c *collector, n int) (faults []string) {
	for p := range fakePartitions {
		got := f.values(t, p)
		if len(got) != n {
			faults = append(faults, fmt.Sprintf("partition %d has %d records, want %d", p, len(got), n))
		}
		for i, v := range got {
			if want := fmt.Sprintf("%d-%d", p, i); v != want {
				faults = append(faults, fmt.Sprintf("partition %d offset %d holds %s, want %s", p, i, v, want))
				break
			}
			if r := c.reports[v]; len(r) != 1 || r[0].Outcome != Kept || r[0].Offset != int64(i) {
				faults = append(faults, fmt.Sprintf("%s at offset %d was reported as %+v", v, i, r))
				break
			}
		}
	}
	return faults
}

// storm sends n records to every partition from a goroutine each, while the broker loses requests and
// answers at random.
func storm(t *testing.T, f *fakeBroker, c *Client, n int, o ProducerOptions) *collector {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0))
	chance := func(percent int) bool {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(100) < percent
	}
	f.before = func(w http.ResponseWriter, _ int) bool {
		switch {
		case chance(10):
			hangUp(w)
		case chance(10):
			problem(w, errcode.New(errcode.Overloaded, "busy"))
		default:
			return false
		}
		return true
	}
	f.after = func(w http.ResponseWriter, _ int) bool {
		switch {
		case chance(15):
			hangUp(w)
		case chance(10):
			problem(w, errcode.New(errcode.RequestTimedOut, "who knows"))
		default:
			return false
		}
		return true
	}
	got := newCollector()
	p := newProducer(t, c, o)
	var wg sync.WaitGroup
	for part := range int32(fakePartitions) {
		wg.Go(func() {
			for i := range n {
				v := fmt.Sprintf("%d-%d", part, i)
				if err := p.SendTo(t.Context(), part, record.Record{Value: []byte(v)}, got.of(v)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tot := p.Totals(); tot.Records != int64(n*fakePartitions) || tot.Retries == 0 {
		t.Errorf("totals %+v", tot)
	}
	return got
}

func TestRetriesNeverDuplicateNorLose(t *testing.T) {
	for _, codec := range []record.Codec{record.CodecNone, record.CodecZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			f, c := newFake(t)
			const n = 3000
			got := storm(t, f, c, n, ProducerOptions{Codec: codec, BatchBytes: 1 << 10, MaxBatchBytes: 2 << 10, Linger: -1})
			for _, fault := range exactlyOnce(t, f, got, n) {
				t.Error(fault)
			}
		})
	}
}

// The check above must be able to fail: a broker without sequence checks writes retries twice.
func TestExactlyOnceFailsWithAForgetfulBroker(t *testing.T) {
	f, c := newFake(t)
	f.forgetful = true
	got := storm(t, f, c, 1000, ProducerOptions{BatchBytes: 1 << 10, MaxBatchBytes: 2 << 10, Linger: -1})
	if len(exactlyOnce(t, f, got, 1000)) == 0 {
		t.Error("duplicates went unnoticed")
	}
}

// Without idempotence an attempt that may have taken effect must not be repeated.
func TestWithoutIdempotenceNothingUnsureIsRepeated(t *testing.T) {
	f, c := newFake(t)
	f.after = func(w http.ResponseWriter, _ int) bool { hangUp(w); return true }
	p := newProducer(t, c, ProducerOptions{NotIdempotent: true, Linger: -1})
	reports := make(chan Report, 1)
	if err := p.SendTo(t.Context(), 0, record.Record{Value: []byte("v")}, func(r Report) { reports <- r }); err != nil {
		t.Fatal(err)
	}
	var ce *ConnError
	if r := <-reports; r.Outcome != Failed || !errors.As(r.Err, &ce) || !ce.Sent {
		t.Errorf("report %+v", r)
	}
	if n := f.attempts(); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

func TestReportsTellEveryRecordsFate(t *testing.T) {
	f, c := newFake(t)
	f.verdict = func(res *ProduceResult, _ record.Batch) {
		res.Dropped = []int{1}
		res.Rejected = []RejectedRecord{{Index: 2, Code: 7, Message: "no", Module: "m@1"}, {Index: 99, Message: "never sent"}}
		res.Routed = []RoutedRecord{{Index: 3, Topic: "other", Partition: 4, Offset: 5}}
		res.Partitions[0].Count = 1
	}
	p := newProducer(t, c, ProducerOptions{Linger: time.Hour})
	got := newCollector()
	for i := range 4 {
		v := fmt.Sprint(i)
		if err := p.SendTo(t.Context(), 1, record.Record{Value: []byte(v)}, got.of(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []Outcome{Kept, Dropped, Rejected, Routed}
	for i, outcome := range want {
		r := got.reports[fmt.Sprint(i)]
		if len(r) != 1 || r[0].Outcome != outcome || r[0].Topic != "t" || r[0].Partition != 1 {
			t.Errorf("record %d: %+v, want %v", i, r, outcome)
		}
	}
	if r := got.reports["0"][0]; r.Offset != 0 {
		t.Errorf("kept at %d", r.Offset)
	}
	if r := got.reports["2"][0]; r.Rejected.Code != 7 || r.Rejected.Message != "no" || r.Offset != -1 {
		t.Errorf("rejected %+v", r)
	}
	if r := got.reports["3"][0]; len(r.Routed) != 1 || r.Routed[0].Offset != 5 {
		t.Errorf("routed %+v", r)
	}
}

func TestABatchRejectedAsAWholeIsNoFailure(t *testing.T) {
	f, c := newFake(t)
	f.verdict = func(res *ProduceResult, b record.Batch) {
		for i := range int(b.Count()) {
			res.Rejected = append(res.Rejected, RejectedRecord{Index: i, Message: "no"})
		}
		res.Partitions[0].Count = 0
	}
	p := newProducer(t, c, ProducerOptions{Linger: -1})
	reports := make(chan Report, 2)
	for range 2 { // the second shows that the sequence went on
		if err := p.SendTo(t.Context(), 0, record.Record{Value: []byte("v")}, func(r Report) { reports <- r }); err != nil {
			t.Fatal(err)
		}
		if r := <-reports; r.Outcome != Rejected || r.Err != nil {
			t.Errorf("report %+v", r)
		}
	}
	if tot := p.Totals(); tot.Rejected != 2 || tot.Kept != 0 || tot.Failed != 0 {
		t.Errorf("totals %+v", tot)
	}
}

func TestALostSequenceTakesANewProducerID(t *testing.T) {
	f, c := newFake(t)
	p := newProducer(t, c, ProducerOptions{Linger: -1})
	send := func() Report {
		reports := make(chan Report, 1)
		if err := p.SendTo(t.Context(), 0, record.Record{Value: []byte("v")}, func(r Report) { reports <- r }); err != nil {
			t.Fatal(err)
		}
		return <-reports
	}
	send()
	f.mu.Lock()
	for _, state := range f.producers { // as if the broker had lost a batch
		state.next, state.recent = 0, nil
	}
	f.mu.Unlock()
	if r := send(); r.Outcome != Kept || r.Offset != 1 {
		t.Errorf("report %+v", r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nextID != 2 {
		t.Errorf("%d producer ids", f.nextID)
	}
}

func TestARefusedBatchFailsAndTheNextGoesThrough(t *testing.T) {
	f, c := newFake(t)
	f.before = func(w http.ResponseWriter, n int) bool {
		if n == 1 {
			problem(w, errcode.New(errcode.StorageFailed, "broken disk"))
		}
		return n == 1
	}
	p := newProducer(t, c, ProducerOptions{Linger: -1})
	reports := make(chan Report, 1)
	for i, want := range []Outcome{Failed, Kept} {
		if err := p.SendTo(t.Context(), 0, record.Record{Value: []byte("v")}, func(r Report) { reports <- r }); err != nil {
			t.Fatal(err)
		}
		if r := <-reports; r.Outcome != want || (want == Failed) != IsCode(r.Err, errcode.StorageFailed) {
			t.Errorf("record %d: %+v", i, r)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	f, c := newFake(t)
	release := make(chan struct{})
	f.before = func(http.ResponseWriter, int) bool { <-release; return false }
	p := newProducer(t, c, ProducerOptions{Linger: -1, MaxBufferedBytes: 10 << 10})
	var reported atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	sent := 0
	var err error
	for err == nil {
		if err = p.SendTo(ctx, 0, record.Record{Value: make([]byte, 1000)}, func(Report) { reported.Add(1) }); err == nil {
			sent++
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) || sent != 9 {
		t.Errorf("%d records fit, then %v", sent, err)
	}
	close(release)
	if err := p.Flush(t.Context()); err != nil || reported.Load() != int64(sent) {
		t.Errorf("%v; %d reports of %d", err, reported.Load(), sent)
	}
	if err := p.SendTo(t.Context(), 0, record.Record{Value: make([]byte, 11<<10)}, nil); !errors.Is(err, ErrRecordTooLarge) {
		t.Errorf("a record larger than the buffer: %v", err)
	}
}

// What does not go through before Close's patience ends is reported as failed, once.
func TestCloseReportsWhatItCannotDeliver(t *testing.T) {
	f, c := newFake(t)
	f.before = func(w http.ResponseWriter, _ int) bool {
		problem(w, errcode.New(errcode.Overloaded, "always busy"))
		return true
	}
	p, err := NewProducer(t.Context(), c, ProducerOptions{Topic: "t", Linger: -1})
	if err != nil {
		t.Fatal(err)
	}
	got := newCollector()
	const n = 100
	for i := range n {
		v := fmt.Sprint(i)
		if err := p.Send(t.Context(), record.Record{Value: []byte(v)}, got.of(v)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	for i := range n {
		if r := got.reports[fmt.Sprint(i)]; len(r) != 1 || r[0].Outcome != Failed || r[0].Err == nil {
			t.Fatalf("record %d: %+v", i, r)
		}
	}
	if err := p.Send(t.Context(), record.Record{}, nil); !errors.Is(err, ErrProducerClosed) {
		t.Errorf("send after close: %v", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestKeysChooseTheirPartition(t *testing.T) {
	f, c := newFake(t)
	p := newProducer(t, c, ProducerOptions{})
	for i := range 100 {
		key := fmt.Sprint(i)
		if err := p.Send(t.Context(), record.Record{Key: []byte(key), Value: []byte(key)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := 0
	for part := range fakePartitions {
		for _, v := range f.values(t, part) {
			total++
			if want := record.PartitionForKey([]byte(v), fakePartitions); int(want) != part {
				t.Errorf("key %s is in partition %d, not %d", v, part, want)
			}
		}
	}
	if total != 100 {
		t.Errorf("%d records", total)
	}
	if err := p.SendTo(t.Context(), fakePartitions, record.Record{}, nil); err == nil || !strings.Contains(err.Error(), "partitions 0 to 2") {
		t.Errorf("a partition that does not exist: %v", err)
	}
}

func TestKeylessRecordsGoAround(t *testing.T) {
	f, c := newFake(t)
	p := newProducer(t, c, ProducerOptions{BatchBytes: 1 << 10, Linger: time.Hour})
	for range 200 {
		if err := p.Send(t.Context(), record.Record{Value: make([]byte, 100)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for part := range fakePartitions {
		sizes = append(sizes, len(f.values(t, part)))
	}
	if slices.Min(sizes) < 40 {
		t.Errorf("records are spread as %v", sizes)
	}
}

// DeliveryTimeout counts from a batch's first record: when the broker is gone, everything that waits
// fails together, not one batch after the other.
func TestDeliveryTimeoutIsSharedByWhatWaits(t *testing.T) {
	f, c := newFake(t)
	f.before = func(w http.ResponseWriter, _ int) bool {
		problem(w, errcode.New(errcode.Overloaded, "always busy"))
		return true
	}
	const patience = 200 * time.Millisecond
	p := newProducer(t, c, ProducerOptions{Linger: -1, BatchBytes: 100, MaxBatchBytes: 200, DeliveryTimeout: patience})
	var failed atomic.Int64
	began := time.Now()
	const n = 100 // about as many batches
	for range n {
		err := p.SendTo(t.Context(), 0, record.Record{Value: make([]byte, 100)}, func(r Report) {
			if r.Outcome == Failed && r.Err != nil {
				failed.Add(1)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if failed.Load() != n || time.Since(began) > 10*patience {
		t.Errorf("%d of %d failed after %v", failed.Load(), n, time.Since(began))
	}
}
