package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// awaitEnd waits until a partition's high watermark has reached end, by long polls at its end.
func awaitEnd(t *testing.T, c *client.Client, name string, partition int32, end int64) {
	t.Helper()
	ctx := deadline(t)
	for {
		res := must(c.FetchPartition(ctx, client.PartitionFetch{Topic: name, Partition: partition, Offset: client.Latest}))(t)
		high := res.Partitions[0].HighWatermark
		res.Release()
		if high >= end {
			return
		}
		res = must(c.FetchPartition(ctx, client.PartitionFetch{Topic: name, Partition: partition, Offset: fmt.Sprint(high), Wait: 5 * time.Second}))(t)
		res.Release()
	}
}

func awaitCaughtUp(t *testing.T, c *client.Client, name string) {
	t.Helper()
	ctx := deadline(t)
	for {
		d := must(c.Derivation(ctx, name))(t)
		lag := int64(0)
		for _, p := range d.Progress {
			if p.Error != "" {
				t.Fatalf("derivation %s: %s", name, p.Error)
			}
			lag += p.Lag
		}
		if lag == 0 {
			return
		}
		res := must(c.FetchPartition(ctx, client.PartitionFetch{Topic: d.Output, Offset: client.Latest, Wait: 20 * time.Millisecond}))(t)
		res.Release()
	}
}

// A derivation fills its output from what was there before and what comes, across kills and restarts, each
// record once, and sends what its module routes to the other topic.
func TestDerivationEndToEnd(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 2)
	topic(t, c, "output", 2)
	topic(t, c, wasmtest.CommandTopic, 2)
	must(c.PutModule(deadline(t), "commands", wasmtest.Commands(0)))(t)
	var sent [2]int
	send := func(n int) {
		t.Helper()
		for range n {
			for p := range int32(2) {
				produce(t, c, "orders", p, fmt.Sprintf("keep %d", sent[p]), "drop", fmt.Sprintf("x %d/%d", p, sent[p]), "trap")
				sent[p]++
			}
		}
	}
	send(5)
	must(c.PutDerivation(deadline(t), "copy", client.DerivationSpec{
		Topic: "orders", Output: "output", StartFrom: client.Earliest, Stages: []client.Stage{{Module: "commands", OnError: "drop"}},
	}))(t)
	check := func(when string) {
		t.Helper()
		for p := range int32(2) {
			awaitEnd(t, c, "output", p, int64(sent[p]))
			var want []string
			for i := range sent[p] {
				want = append(want, fmt.Sprintf("keep %d", i))
			}
			expectValues(t, fmt.Sprintf("%s: output/%d", when, p), values(rows(t, c, "output", p)), want...)
		}
		awaitCaughtUp(t, c, "copy")
		seen := map[string]int{}
		for _, v := range everywhere(t, c, wasmtest.CommandTopic) {
			seen[v]++
		}
		if len(seen) != sent[0]+sent[1] {
			t.Errorf("%s: %d different records were routed instead of %d", when, len(seen), sent[0]+sent[1])
		}
		for v, n := range seen {
			if n != 1 {
				t.Errorf("%s: %q was routed %d times", when, v, n)
			}
		}
	}
	check("from the start")
	send(5)
	check("as they come")
	for round := range 3 {
		send(3) // the derivation may be anywhere among them when the broker dies
		b.Kill(t)
		b = b.Restart(t)
		c = b.Client(t)
		check(fmt.Sprintf("after kill %d", round))
	}
	b.Stop(t)
	b = b.Restart(t)
	c = b.Client(t)
	send(2)
	check("after a stop")
	if err := c.DeleteDerivation(deadline(t), "copy"); err != nil {
		t.Fatal(err)
	}
	refusal{code: errcode.UnknownDerivation, says: []string{"copy"}}.expect(t, call(t, b, "GET", "/v1/derivations/copy", nil))
	send(1)
	if n := len(rows(t, c, "output", 0)); n != sent[0]-1 {
		t.Errorf("a deleted derivation went on: %d records", n)
	}
}

// Latest means the end at the time when the derivation was made, also after a restart.
func TestDerivationFromLatest(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 1)
	topic(t, c, "output", 1)
	must(c.PutModule(deadline(t), "same", wasmtest.Identity()))(t)
	produce(t, c, "orders", 0, "before")
	must(c.PutDerivation(deadline(t), "copy", client.DerivationSpec{
		Topic: "orders", Output: "output", StartFrom: client.Latest, Stages: []client.Stage{{Module: "same"}},
	}))(t)
	awaitCaughtUp(t, c, "copy")
	produce(t, c, "orders", 0, "after")
	b.Kill(t)
	b = b.Restart(t)
	c = b.Client(t)
	awaitEnd(t, c, "output", 0, 1)
	expectValues(t, "output", values(rows(t, c, "output", 0)), "after")
}

// A record that does not fit its destination must not stop the records behind it.
func TestDerivationGetsPastARecordThatDoesNotFit(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 1)
	must(c.CreateTopic(deadline(t), client.TopicSpec{Name: "output", Config: map[string]string{"max.message.bytes": "1024"}}))(t)
	must(c.PutModule(deadline(t), "same", wasmtest.Identity()))(t)
	must(c.PutDerivation(deadline(t), "copy", client.DerivationSpec{
		Topic: "orders", Output: "output", StartFrom: client.Earliest, Stages: []client.Stage{{Module: "same", OnError: "drop"}},
	}))(t)
	produce(t, c, "orders", 0, "small 0", strings.Repeat("x", 5000), "small 1")
	produce(t, c, "orders", 0, "small 2")
	ctx := deadline(t)
	for {
		d := must(c.Derivation(ctx, "copy"))(t)
		if d.Progress[0].Lag == 0 {
			break
		}
		if e := d.Progress[0].Error; e != "" {
			t.Fatalf("the derivation is stuck: %s", e)
		}
		res := must(c.FetchPartition(ctx, client.PartitionFetch{Topic: "output", Offset: client.Latest, Wait: 20 * time.Millisecond}))(t)
		res.Release()
	}
	expectValues(t, "output", values(rows(t, c, "output", 0)), "small 0", "small 1", "small 2")
}
