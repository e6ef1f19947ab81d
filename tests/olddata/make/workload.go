package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/launch"
	"github.com/wasmill/wasmill/tests/olddata"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// killAfter is how many batches are acknowledged under load before the broker is killed.
const killAfter = 160

// workload fills a data directory.
type workload struct {
	start     func() (*launch.Broker, error)
	filters   []olddata.Filter
	producers []olddata.Producer

	c *client.Client
}

func (w *workload) run(ctx context.Context) error {
	b, err := w.start()
	if err != nil {
		return err
	}
	w.c = b.Client
	err = w.before(ctx)
	if err := errors.Join(err, b.Stop()); err != nil {
		return err
	}
	if b, err = w.start(); err != nil {
		return err
	}
	w.c = b.Client
	return w.after(ctx, b.Kill)
}

// topics are made in this order. Segments are small, so that most of them are sealed.
var topics = []struct {
	name       string
	partitions int32
	flush      string
}{
	{"orders", 3, "fsync"},
	{wasmtest.CommandTopic, 3, "relaxed"}, // where orders' pipeline routes to
	{"plain", 2, "relaxed"},
	{"derived", 2, "fsync"}, // slower than its source, so that the derivation falls behind
	{"tail", 1, "relaxed"},
	{"trimmed", 1, "fsync"},
	{"text", 2, "fsync"},
	{"gone", 2, "fsync"},
}

// before is what happens up to the orderly stop.
func (w *workload) before(ctx context.Context) error {
	for _, t := range topics {
		config := map[string]string{"segment.bytes": "65536", "retention.ms": "-1", "flush": t.flush}
		if _, err := w.c.CreateTopic(ctx, client.TopicSpec{Name: t.name, Partitions: t.partitions, Config: config}); err != nil {
			return err
		}
	}
	if err := w.transforms(ctx); err != nil {
		return err
	}
	// What this producer writes is trimmed below: then only a snapshot remembers its sequence.
	if err := w.idempotent(ctx, "trimmed", 0, 7); err != nil {
		return err
	}
	for name, rounds := range map[string]int{"orders": 12, "plain": 12, "trimmed": 40, "gone": 2} {
		if err := w.codecs(ctx, name, rounds); err != nil {
			return err
		}
	}
	if err := w.trim(ctx, "trimmed"); err != nil {
		return err
	}
	if err := w.text(ctx); err != nil {
		return err
	}
	for _, topic := range []string{"orders", "plain"} {
		for p := range int32(2) {
			if err := w.idempotent(ctx, topic, p, 7); err != nil {
				return err
			}
		}
	}
	if err := w.c.DeleteTopic(ctx, "gone"); err != nil {
		return err
	}
	_, err := olddata.CaughtUp(ctx, w.c)
	return err
}

// transforms makes a pipeline, views and derivations, some of them twice and some only to be deleted.
func (w *workload) transforms(ctx context.Context) error {
	commands := []client.Stage{{Module: "commands"}}
	same := []client.Stage{{Module: "same", Config: json.RawMessage(`{"b":1,"a":[true,null]}`), OnError: "skip"}}
	var errs []error
	try := func(err error) { errs = append(errs, err) }
	for name, versions := range map[string][][]byte{
		"commands": {wasmtest.Commands(1), wasmtest.Commands(0)},
		"same":     {wasmtest.Identity()},
		"unused":   {wasmtest.FilterKey()},
	} {
		for _, wasm := range versions {
			_, err := w.c.PutModule(ctx, name, wasm)
			try(err)
		}
	}
	_, err := w.c.SetPipeline(ctx, "orders", same)
	try(err)
	_, err = w.c.SetPipeline(ctx, "orders", []client.Stage{{Module: "commands@2"}})
	try(err)
	_, err = w.c.SetPipeline(ctx, "plain", same)
	try(err)
	try(w.c.DeletePipeline(ctx, "plain"))
	_, err = w.c.PutView(ctx, "orders-seen", "orders", same)
	try(err)
	_, err = w.c.PutView(ctx, "text-seen", "text", commands)
	try(err)
	try(w.c.DeleteView(ctx, "orders-seen"))
	_, err = w.c.PutDerivation(ctx, "copy", client.DerivationSpec{Topic: "plain", Output: "derived", StartFrom: client.Earliest, Stages: commands})
	try(err)
	_, err = w.c.PutDerivation(ctx, "short", client.DerivationSpec{Topic: "gone", Output: "tail", StartFrom: client.Earliest, Stages: same})
	try(err)
	try(w.c.DeleteDerivation(ctx, "short"))
	return errors.Join(errs...)
}

// codecs writes batches of every codec into every partition of a topic: without a producer, with keys,
// null values and headers, enough of them to fill several segments.
func (w *workload) codecs(ctx context.Context, topic string, rounds int) error {
	n, err := w.c.PartitionCount(ctx, topic)
	if err != nil {
		return err
	}
	for round := range rounds {
		for p := range n {
			for codec := record.CodecNone; codec <= record.CodecZstd; codec++ {
				body, err := batch(record.BuilderOptions{Codec: codec}, fmt.Sprintf("k %s %v %d", topic, codec, round), 3)
				if err != nil {
					return err
				}
				if _, err := w.produce(ctx, topic, p, body); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// batch builds a batch of n compressible records; every other one has headers. The first begins with
// "d": the filter drops it.
func batch(o record.BuilderOptions, text string, n int) ([]byte, error) {
	var w record.Builder
	w.Reset(o)
	for i := range n {
		r := record.Record{
			Timestamp: 1_700_000_000_000 + int64(i), Key: fmt.Appendf(nil, "key-%d", i),
			Value: fmt.Appendf(nil, "%s record %d %s", text, i, strings.Repeat("and so on ", 200)),
		}
		if i == 0 {
			r.Value[0] = 'd'
		}
		if i%2 == 1 {
			r.Headers = []record.RecordHeader{{Key: []byte("trace"), Value: []byte{0, 1, 2, 255}}, {Key: []byte("empty")}}
		}
		w.Append(r)
	}
	return w.Build(nil)
}

func (w *workload) produce(ctx context.Context, topic string, partition int32, body []byte) (client.ProducedPartition, error) {
	res, err := w.c.ProduceBatches(ctx, topic, partition, body)
	if err == nil {
		err = res.Err()
	}
	if err != nil {
		return client.ProducedPartition{}, err
	}
	return res.Partitions[0], nil
}

// text writes the forms of records that are no batches.
func (w *workload) text(ctx context.Context) error {
	var lines bytes.Buffer
	for i := range 40 {
		fmt.Fprintf(&lines, `{"key":"line-%d","value":{"d":%d,"nested":[1,2.5,"\u00e9"]},"headers":{"from":"ndjson"}}`+"\n", i, i)
	}
	_, err := w.c.ProduceNDJSON(ctx, "text", client.AnyPartition, lines.Bytes())
	errs := []error{err}
	one := int32(1)
	records := []client.JSONRecord{
		client.NewJSONRecord([]byte("k"), []byte{0xff, 0xfe}), client.NewJSONRecord(nil, []byte("d without a key")),
		client.NewJSONRecord([]byte("null"), nil), {Value: json.RawMessage(`"at"`), Timestamp: json.RawMessage(`"2024-02-29T12:00:00.5Z"`), Partition: &one},
	}
	_, err = w.c.ProduceRecords(ctx, "text", records)
	errs = append(errs, err)
	_, err = w.c.ProduceValue(ctx, "text", client.Value{Partition: 0, Key: []byte("raw"), Value: []byte("d raw value")})
	return errors.Join(append(errs, err)...)
}

// trim lets retention take a topic's oldest segments away, and then sets no bound again.
func (w *workload) trim(ctx context.Context, topic string) error {
	set := func(bytes string) error {
		_, err := w.c.AlterTopic(ctx, topic, client.TopicChange{Config: map[string]*string{"retention.bytes": &bytes}})
		return err
	}
	if err := set("70000"); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		t, err := w.c.Topic(ctx, topic)
		if err != nil {
			return err
		}
		if t.State[0].LogStartOffset > 0 {
			return set("-1")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// idempotent lets a new producer write batches and keeps its last one.
func (w *workload) idempotent(ctx context.Context, topic string, partition int32, batches int) error {
	id, err := w.c.AllocateProducerID(ctx)
	if err != nil {
		return err
	}
	s := sender{w: w, Producer: olddata.Producer{Topic: topic, Partition: partition, ID: id.ID, Epoch: id.Epoch}}
	for range batches {
		if err := s.send(ctx); err != nil {
			return err
		}
	}
	w.producers = append(w.producers, s.Producer)
	return nil
}

// sender is an idempotent producer.
type sender struct {
	olddata.Producer
	w *workload
}

// send writes the next batch. Of those to orders the pipeline routes, copies and drops a part. The
// derivation from plain routes nothing: the order in which it would write to another topic while it
// catches up is not always the same.
func (s *sender) send(ctx context.Context) error {
	const count = 4
	var b record.Builder
	b.Reset(record.BuilderOptions{
		Codec:    record.Codec(s.NextSequence / count % 5),
		Producer: &record.Producer{ID: s.ID, Epoch: s.Epoch, BaseSequence: s.NextSequence},
	})
	fates := "kxcd"
	if s.Topic == "plain" {
		fates = "kdkk"
	}
	for i, fate := range []byte(fates) {
		b.Append(record.Record{
			Timestamp: 1_700_000_000_000, Key: fmt.Appendf(nil, "key-%d", i),
			Value: fmt.Appendf(nil, "%c %d/%d %s", fate, s.ID, int(s.NextSequence)+i, strings.Repeat("idempotent ", 20)),
		})
	}
	body, err := b.Build(nil)
	if err != nil {
		return err
	}
	sequence := s.NextSequence
	s.NextSequence = -1
	done, err := s.w.produce(ctx, s.Topic, s.Partition, body)
	if err != nil {
		return err
	}
	s.Batch, s.BaseOffset, s.NextSequence = body, done.BaseOffset, sequence+count
	return nil
}

// after is what happens behind the orderly stop, up to and with the kill.
func (w *workload) after(ctx context.Context, kill func() error) error {
	if err := w.codecs(ctx, "trimmed", 2); err != nil {
		return errors.Join(err, kill())
	}
	_, err := w.c.PutDerivation(ctx, "late", client.DerivationSpec{Topic: "trimmed", Output: "tail", StartFrom: client.Latest, Stages: []client.Stage{{Module: "commands"}}})
	if err != nil {
		return errors.Join(err, kill())
	}
	latest, err := w.c.Topic(ctx, "trimmed")
	if err != nil {
		return errors.Join(err, kill())
	}
	w.filters = append(w.filters, olddata.Filter{Derivation: "late", Source: "trimmed", Output: "tail", From: []int64{latest.State[0].HighWatermark}})
	if err := w.codecs(ctx, "trimmed", 2); err != nil {
		return errors.Join(err, kill())
	}
	var senders []*sender
	for _, topic := range []string{"plain", "plain", "orders"} {
		for p := range int32(2) {
			id, err := w.c.AllocateProducerID(ctx)
			if err != nil {
				return errors.Join(err, kill())
			}
			senders = append(senders, &sender{w: w, Producer: olddata.Producer{Topic: topic, Partition: p, ID: id.ID, Epoch: id.Epoch}})
		}
	}
	return w.load(ctx, senders, kill)
}

// load lets all senders work until the broker is killed among their requests.
func (w *workload) load(ctx context.Context, senders []*sender, kill func() error) error {
	var acknowledged atomic.Int64
	enough := make(chan struct{})
	var group sync.WaitGroup
	for _, s := range senders {
		group.Go(func() {
			for s.send(ctx) == nil {
				if acknowledged.Add(1) == killAfter {
					close(enough)
				}
			}
		})
	}
	var err error
	select {
	case <-enough:
	case <-ctx.Done():
		err = ctx.Err()
	}
	err = errors.Join(err, kill())
	group.Wait()
	for _, s := range senders {
		if s.Batch != nil {
			w.producers = append(w.producers, s.Producer)
		}
	}
	return err
}
