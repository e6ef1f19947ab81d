package e2e

import (
	"slices"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// commands sets up topic "in" whose pipeline obeys the first byte of each value: x routes to topic
// "other", c routes and keeps (see wasmtest.Commands).
func commands(t *testing.T, c *client.Client, inParts, otherParts int32) {
	t.Helper()
	topic(t, c, "in", inParts)
	topic(t, c, wasmtest.CommandTopic, otherParts)
	must(c.PutModule(deadline(t), "commands", wasmtest.Commands(0)))(t)
	must(c.SetPipeline(deadline(t), "in", []client.Stage{{Module: "commands"}}))(t)
}

// everywhere is the values of all partitions of a topic, sorted.
func everywhere(t *testing.T, c *client.Client, name string) []string {
	t.Helper()
	n := must(c.PartitionCount(deadline(t), name))(t)
	var all []string
	for p := range n {
		all = append(all, values(rows(t, c, name, p))...)
	}
	slices.Sort(all)
	return all
}

func sequence(id client.ProducerID, first int32) record.BuilderOptions {
	return recordtest.Sequence(id.ID, id.Epoch, first)
}

func expectValues(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q instead of %q", what, got, want)
	}
}

// A retry of an idempotent producer finds its batch, and what was routed of it is not routed again:
// neither with a key nor without one, where the broker itself chose the partition.
func TestIdempotentRetryDoesNotDuplicateRoutes(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	commands(t, c, 2, 4)
	id := must(c.AllocateProducerID(deadline(t)))(t)
	body := batch(t, sequence(id, 0), "x routed", "kept", "k=x with a key", "d dropped")
	send := func() *client.ProduceResult {
		t.Helper()
		res := must(c.ProduceBatches(deadline(t), "in", 1, slices.Clone(body)))(t)
		if err := res.Err(); err != nil {
			t.Fatal(err)
		}
		return res
	}
	check := func(when string) {
		t.Helper()
		expectValues(t, when+": in", everywhere(t, c, "in"), "kept")
		expectValues(t, when+": other", everywhere(t, c, wasmtest.CommandTopic), "x routed", "x with a key")
	}
	first := send()
	if len(first.Routed) != 2 || len(first.Dropped) != 1 || first.Partitions[0].Duplicate {
		t.Fatalf("first answer: %+v", first)
	}
	check("once")
	for range 3 {
		again := send()
		if p := again.Partitions[0]; !p.Duplicate || p.BaseOffset != first.Partitions[0].BaseOffset {
			t.Errorf("a retry was answered with %+v", p)
		}
	}
	check("after retries")
	b.Kill(t)
	b = b.Restart(t)
	c = b.Client(t)
	if p := send().Partitions[0]; !p.Duplicate || p.BaseOffset != first.Partitions[0].BaseOffset {
		t.Errorf("a retry after a restart was answered with %+v", p)
	}
	check("after a restart")
}

// A batch that is refused because one before it is missing must leave no trace in other topics: the
// missing one still comes, and so does this one again.
func TestRefusedSequenceRoutesNothing(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.ClientWith(t, client.Options{Retries: -1})
	commands(t, c, 1, 1)
	id := must(c.AllocateProducerID(deadline(t)))(t)
	ok := func(first int32, value string) {
		t.Helper()
		res := must(c.ProduceBatches(deadline(t), "in", 0, batch(t, sequence(id, first), value)))(t)
		if err := res.Err(); err != nil {
			t.Fatal(err)
		}
	}
	ok(0, "x a")
	_, err := c.ProduceBatches(deadline(t), "in", 0, batch(t, sequence(id, 2), "x c"))
	if !client.IsCode(err, errcode.OutOfOrderSequence) {
		t.Fatalf("a gap in the sequence was answered with %v", err)
	}
	expectValues(t, "after the gap", everywhere(t, c, wasmtest.CommandTopic), "x a")
	ok(1, "x b")
	ok(2, "x c")
	expectValues(t, "in the end", everywhere(t, c, wasmtest.CommandTopic), "x a", "x b", "x c")
}
