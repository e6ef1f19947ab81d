package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// When uploads fill the broker's budget others are refused until later, reads go on, and the budget comes
// back with the uploads' end: memory does not grow with the number of clients.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{Args: []string{"--max-body-bytes", "1MiB", "--max-module-bytes", "1MiB", "--max-in-flight-bytes", "4MiB"}})
	w := newWitness(t, b)
	c := b.ClientWith(t, client.Options{Retries: -1})
	topic(t, c, "orders", 1)
	const stalled = 64
	var conns []func()
	for range stalled {
		conn := dial(t, b)
		write(t, conn, produceHead+"Content-Length: 1000000\r\n\r\nx")
		conns = append(conns, func() {
			if err := conn.SetLinger(0); err != nil {
				t.Error(err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	body := batch(t, record.BuilderOptions{}, strings.Repeat("x", 900_000))
	send := func() answer {
		return call(t, b, "POST", "/v1/topics/orders/records?partition=0", body, "Content-Type", typeBatches)
	}
	ctx := deadline(t)
	a := send()
	for a.Status == 200 && ctx.Err() == nil { // until all stalled uploads have arrived
		a = send()
	}
	refusal{code: errcode.Overloaded, says: []string{"4194304 bytes", "Retry-After"}}.expect(t, a)
	for partition, want := range w.bytes {
		if got := raw(t, c, witnessTopic, partition); string(got) != string(want) {
			t.Errorf("%s/%d cannot be read under load", witnessTopic, partition)
		}
	}
	for _, end := range conns {
		end()
	}
	for a = send(); a.Status != 200 && ctx.Err() == nil; a = send() {
		refusal{code: errcode.Overloaded}.expect(t, a)
	}
	w.check(t, b)
	if _, peak := b.Memory(t); peak > 300<<20 && !harness.Raced {
		t.Errorf("the broker took %d MiB", peak>>20)
	}
	w.survive(t, b)
}

// What a fetch may ask for is the operator's to say, beyond the 16 MiB of the default.
func TestLargeFetches(t *testing.T) {
	t.Parallel()
	const batches, most = 40, 64 << 20
	b := harness.Start(t, harness.Options{Args: []string{"--max-fetch-bytes", "64MiB", "--max-in-flight-bytes", "256MiB"}})
	c := b.Client(t)
	keepAll := map[string]string{"retention.ms": "-1"}
	must(c.CreateTopic(deadline(t), client.TopicSpec{Name: "orders", Config: keepAll}))(t)
	for range batches {
		produce(t, c, "orders", 0, strings.Repeat("x", 900_000))
	}
	ask := client.FetchRequest{Partitions: []client.FetchFrom{{Topic: "orders", MaxBytes: most}}}
	res := must(c.Fetch(deadline(t), ask))(t)
	defer res.Release()
	if n := len(decode(t, res.Partitions[0].Batches)); n != batches {
		t.Errorf("a fetch of up to %d MiB brought %d of %d batches of 0.9 MB", most>>20, n, batches)
	}
	refuses(t, harness.Options{Args: []string{"--max-fetch-bytes", "64MiB", "--max-in-flight-bytes", "255MiB"}},
		"max-fetch-bytes", "65280KiB", "max-in-flight-bytes to 256MiB")
}

// A deleted topic is gone with its records, also after a kill, and a new one of its name is empty.
func TestDeletedTopicStaysDeleted(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	c := b.Client(t)
	topic(t, c, "orders", 2)
	produce(t, c, "orders", 1, "old")
	if err := c.DeleteTopic(deadline(t), "orders"); err != nil {
		t.Fatal(err)
	}
	b = w.survive(t, b)
	c = b.Client(t)
	refusal{code: errcode.UnknownTopicOrPartition, says: []string{"orders"}}.expect(t, call(t, b, "GET", "/v1/topics/orders", nil))
	topic(t, c, "orders", 2)
	expectValues(t, "new topic", everywhere(t, c, "orders"))
	if at := produce(t, c, "orders", 1, "new"); at != 0 {
		t.Errorf("its first record has offset %d", at)
	}
	b = w.survive(t, b)
	expectValues(t, "new topic after a restart", everywhere(t, b.Client(t), "orders"), "new")
}

// Partitions can be added, also under a write pipeline, and are there after a restart; none can be taken.
func TestPartitionsGrow(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	commands(t, c, 1, 1)
	produce(t, c, "in", 0, "k a")
	grown := must(c.AlterTopic(deadline(t), "in", client.TopicChange{Partitions: 3}))(t)
	if grown.Partitions != 3 {
		t.Fatalf("%d partitions", grown.Partitions)
	}
	produce(t, c, "in", 2, "k b", "d dropped")
	refusal{code: errcode.InvalidPartitions, says: []string{"2", "3"}}.
		expect(t, call(t, b, "PATCH", "/v1/topics/in", []byte(`{"partitions":2}`), "Content-Type", typeJSON))
	b.Kill(t)
	b = b.Restart(t)
	c = b.Client(t)
	expectValues(t, "in", everywhere(t, c, "in"), "k a", "k b")
	produce(t, c, "in", 1, "k c")
	expectValues(t, "in", everywhere(t, c, "in"), "k a", "k b", "k c")
}

// A dry run returns every verdict and changes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	commands(t, c, 1, 1)
	var recs []client.JSONRecord
	for _, v := range []string{"kept", "drop", "refused", "emit", "x", "trap"} {
		recs = append(recs, client.NewJSONRecord(nil, []byte(v)))
	}
	res := must(c.DryRunModule(deadline(t), "commands", 0, client.DryRun{Topic: "in", Records: recs}))(t)
	var got []string
	for _, v := range res.Verdicts {
		got = append(got, fmt.Sprintf("%d %s", v.Index, v.Verdict))
	}
	expectValues(t, "verdicts", got, "0 kept", "1 dropped", "2 rejected", "3 changed", "4 routed", "5 rejected")
	if res.Module != "commands@1" || res.Verdicts[2].Message != wasmtest.CommandMessage || len(res.Verdicts[4].Outputs) != 1 || res.Verdicts[4].Outputs[0].Topic != wasmtest.CommandTopic {
		t.Errorf("%+v", res)
	}
	expectValues(t, "in", everywhere(t, c, "in"))
	expectValues(t, "other", everywhere(t, c, wasmtest.CommandTopic))
}
