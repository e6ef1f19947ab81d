package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

const (
	partitions = 3
	patience   = time.Minute
)

// sender is a producer that lives through all rounds. It has one request at a time under way.
type sender struct {
	number     int
	place      Place
	idempotent bool
	rng        *rand.Rand

	id       client.ProducerID
	sequence int32
	sent     int
	pending  []Value // of an idempotent producer: sent and not yet acknowledged
}

// run sends batch after batch until ctx ends or the broker is gone.
func (s *sender) run(ctx context.Context, t *testing.T, c *client.Client, h *History) {
	for ctx.Err() == nil {
		if s.pending == nil {
			s.pending = s.next()
			h.Try(s.pending)
		}
		res, err := c.ProduceBatches(ctx, s.place.Topic, s.place.Partition, s.encode(t))
		if err == nil {
			err = res.Err()
		}
		var unheard *client.ConnError
		var refusal *client.Error
		switch {
		case err == nil:
			s.acknowledged(res, h)
			continue
		case errors.As(err, &unheard), ctx.Err() != nil:
		case errors.As(err, &refusal) && refusal.Retriable:
		default:
			t.Errorf("sender %d: %v", s.number, err)
			return
		}
		if !s.idempotent {
			s.pending = nil // whether they were written is unknown; these must not be sent again
		}
		if unheard != nil && !unheard.Sent {
			return // the broker is gone
		}
	}
}

func (s *sender) next() []Value {
	fates := "kkkxcd"
	if s.place.Topic == Plain {
		fates = "p"
	}
	values := make([]Value, 1+s.rng.IntN(8))
	for i := range values {
		values[i] = Value{fates[s.rng.IntN(len(fates))], s.number, s.sent}
		s.sent++
	}
	return values
}

func (s *sender) encode(t *testing.T) []byte {
	o := record.BuilderOptions{Codec: record.Codec(s.number % 5)}
	if s.idempotent {
		o.Producer = &record.Producer{ID: s.id.ID, Epoch: s.id.Epoch, BaseSequence: s.sequence}
	}
	var records []record.Record
	for _, v := range s.pending {
		r := record.Record{Timestamp: 1_700_000_000_000, Value: []byte(v.String())}
		if v.Number%2 == 0 {
			r.Key = fmt.Appendf(nil, "%d", v.Number%7)
			r.Headers = []record.RecordHeader{{Key: []byte("pad"), Value: bytes.Repeat([]byte{'.'}, v.Number%512)}}
		}
		records = append(records, r)
	}
	return recordtest.Build(t, o, records...) // small records always fit
}

// acknowledged takes down what the broker said.
func (s *sender) acknowledged(res *client.ProduceResult, h *History) {
	for _, r := range res.Routed {
		if r.Offset >= 0 && r.Index < len(s.pending) {
			h.Told(s.pending[r.Index], Place{r.Topic, r.Partition}, r.Offset)
		}
	}
	base := res.Partitions[0].BaseOffset
	for i, v := range s.pending {
		h.Acknowledge(v)
		if kept := v.Topics(); base >= 0 && len(kept) > 0 && kept[0] == s.place.Topic {
			h.Told(v, s.place, base+int64(i))
		}
	}
	s.sequence += int32(len(s.pending))
	s.pending = nil
}

// world is the workload and the broker that it works on.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	broker  *harness.Broker
	history *History
	senders []*sender
	ids     map[int64]bool // producer ids that were given out
}

// newWorld starts a broker with all topics, a write pipeline and a derivation.
func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), history: NewHistory(), ids: map[int64]bool{}}
	w.broker = harness.Start(t, harness.Options{Args: []string{"--maintain-every", "150ms"}})
	c := w.client()
	ctx := w.deadline()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{In, Other, Plain, Derived} {
		// Small segments, so that kills fall on rolls too. A relaxed flush leaves records to the page cache,
		// which the death of the process does not touch.
		flush := []string{"fsync", "relaxed"}[w.rng.IntN(2)]
		t.Logf("topic %s has flush=%s", name, flush)
		_, err := c.CreateTopic(ctx, client.TopicSpec{Name: name, Partitions: partitions, Config: map[string]string{
			"segment.bytes": "65536", "retention.ms": "-1", "flush": flush,
		}})
		check(err)
	}
	_, err := c.PutModule(ctx, "commands", wasmtest.Commands(0))
	check(err)
	_, err = c.PutModule(ctx, "same", wasmtest.Identity())
	check(err)
	_, err = c.SetPipeline(ctx, In, []client.Stage{{Module: "commands"}})
	check(err)
	_, err = c.PutDerivation(ctx, "copy", client.DerivationSpec{Topic: Plain, Output: Derived, StartFrom: client.Earliest, Stages: []client.Stage{{Module: "same"}}})
	check(err)
	for i := range 4 * partitions {
		s := &sender{
			number: i, place: Place{[]string{In, Plain}[i/2%2], int32(i % partitions)}, idempotent: i%2 == 0,
			rng: rand.New(rand.NewPCG(seed, uint64(i)+2)),
		}
		if s.idempotent {
			s.id = w.newID(c)
			w.history.Ordered(i)
		}
		w.senders = append(w.senders, s)
	}
	return w
}

// newID asks for a producer id, which nobody may have been given before.
func (w *world) newID(c *client.Client) client.ProducerID {
	w.t.Helper()
	id, err := c.AllocateProducerID(w.deadline())
	if err != nil {
		w.t.Fatal(err)
	}
	if w.ids[id.ID] {
		w.t.Errorf("producer id %d was given out twice", id.ID)
	}
	w.ids[id.ID] = true
	return id
}

func (w *world) client() *client.Client {
	w.t.Helper()
	// Timeouts are short: a paused broker makes requests be repeated while the first is still there.
	return w.broker.ClientWith(w.t, client.Options{Retries: -1, Timeout: 5 * time.Second})
}

func (w *world) deadline() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// load lets all senders work while during runs, and waits for them.
func (w *world) load(timeout time.Duration, during func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.deadline())
	defer cancel()
	var group sync.WaitGroup
	for _, s := range w.senders {
		c := w.broker.ClientWith(w.t, client.Options{Retries: -1, Timeout: timeout})
		group.Go(func() { s.run(ctx, w.t, c, w.history) })
	}
	during()
	cancel()
	group.Wait()
}

// wait lets a random time up to most pass.
func (w *world) wait(most time.Duration) {
	<-time.After(time.Duration(w.rng.Int64N(int64(most))))
}

// settle waits until requests that their senders gave up have been carried out: until nothing is written
// for a while.
func (w *world) settle() {
	w.t.Helper()
	const quiet = 300 * time.Millisecond
	c := w.client()
	f := client.FetchRequest{Wait: quiet}
	for _, name := range []string{In, Other, Plain, Derived} {
		for p := range int32(partitions) {
			f.Partitions = append(f.Partitions, client.FetchFrom{Topic: name, Partition: p, MaxBytes: 4 << 20})
		}
	}
	for moved := true; moved; {
		moved = false
		res, err := c.Fetch(w.deadline(), f)
		if err != nil {
			w.t.Fatal(err)
		}
		for i, p := range res.Partitions {
			moved = moved || len(p.Batches) > 0
			f.Partitions[i].Offset = p.NextOffset
		}
		res.Release()
	}
}

// verify reads everything and compares it with the history.
func (w *world) verify(when string) {
	w.t.Helper()
	c := w.client()
	w.newID(c)
	state := State{}
	for _, name := range []string{In, Other, Plain} {
		for p := range int32(partitions) {
			state[Place{name, p}] = w.read(c, Place{name, p}, 0)
		}
	}
	for p := range int32(partitions) {
		// The derivation has caught up when its output is as long as its source.
		state[Place{Derived, p}] = w.read(c, Place{Derived, p}, len(state[Place{Plain, p}].Records))
	}
	if faults := w.history.Faults(state); len(faults) > 0 {
		for _, f := range faults {
			w.t.Errorf("%s: %s", when, f)
		}
		w.t.FailNow()
	}
}

// read reads a partition whole, waiting until it has at least so many records.
func (w *world) read(c *client.Client, place Place, least int) Log {
	w.t.Helper()
	var l Log
	ctx := w.deadline()
	for next := int64(0); ; {
		f := client.PartitionFetch{Topic: place.Topic, Partition: place.Partition, Offset: fmt.Sprint(next), MaxBytes: 4 << 20}
		if len(l.Records) < least {
			f.Wait = 2 * time.Second
		}
		res, err := c.FetchPartition(ctx, f)
		if err != nil {
			if client.IsCode(err, errcode.Overloaded) {
				continue
			}
			w.t.Fatalf("read %v from %d with %d of %d records: %v", place, next, len(l.Records), least, err)
		}
		p := res.Partitions[0]
		for _, r := range recordtest.Read(w.t, p.Batches) {
			l.Records = append(l.Records, Entry{r.Offset, string(r.Value)})
		}
		for b := range record.All(p.Batches) {
			l.Batches = append(l.Batches, [2]int64{b.BaseOffset(), b.NextOffset()})
		}
		next = p.NextOffset
		done := next >= p.HighWatermark && len(l.Records) >= least
		res.Release()
		if done {
			return l
		}
	}
}
