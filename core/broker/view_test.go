package broker_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// push stores a module and returns a stage of it.
func push(t testing.TB, b *broker.Broker, name string, wasm []byte) api.Stage {
	t.Helper()
	m, _, err := b.PutModule(t.Context(), name, wasm)
	if err != nil {
		t.Fatal(err)
	}
	return api.Stage{Module: name, Version: m.Version}
}

// commands stores wasmtest.Commands: the first byte of a value says what becomes of the record.
func commands(t testing.TB, b *broker.Broker) api.Stage {
	t.Helper()
	return push(t, b, "commands", wasmtest.Commands(0))
}

func produce(t testing.TB, b *broker.Broker, topic string, partition int32, values ...string) *broker.ProduceResult {
	t.Helper()
	result, err := b.ProduceBatches(t.Context(), topic, partition, batch(t, values...))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func wantValues(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("values %q, want %q", got, want)
	}
}

// TestViewShowsWhatThePipelineLeaves: offsets stay the source's, the topic keeps everything, and a name
// that is a view's takes no records.
func TestViewShowsWhatThePipelineLeaves(t *testing.T) {
	b := open(t, t.TempDir())
	createTopic(t, b, "orders", 1)
	produce(t, b, "orders", 0, "keep", "drop", "emitx", "t", "keep too")
	produce(t, b, "orders", 0, "d")
	if _, _, err := b.PutView(t.Context(), "seen", api.ViewSpec{Topic: "orders", Stages: []api.Stage{commands(t, b)}}, nil); err != nil {
		t.Fatal(err)
	}
	got, next := read(t, b, "seen", 0, 0)
	wantValues(t, got, "keep", "emit", "keep too") // what failed is left out
	if next != 6 {
		t.Errorf("the view was scanned to %d, want 6: what it leaves out counts too", next)
	}
	got, next = read(t, b, "seen", 0, 5)
	wantValues(t, got)
	if next != 6 {
		t.Errorf("a batch of which nothing is left leads to %d, want 6", next)
	}
	got, _ = read(t, b, "orders", 0, 0)
	wantValues(t, got, "keep", "drop", "emitx", "t", "keep too", "d")
	_, err := b.ProduceBatches(t.Context(), "seen", 0, batch(t, "a"))
	wantCode(t, err, errcode.ViewReadOnly)
	if err := b.DeleteView(t.Context(), "seen", nil); err != nil {
		t.Fatal(err)
	}
	resp, err := b.Fetch(t.Context(), fetchOf("seen", 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, resp.Partitions[0].Err, errcode.UnknownTopicOrPartition)
}

func fetchOf(topic string, partition int32, offset int64) broker.FetchRequest {
	return broker.FetchRequest{Partitions: []broker.FetchPartition{{Topic: topic, Partition: partition, Offset: offset}}}
}

// TestViewAnswersKeepTheirBytes holds many answers at once: what one of them points to must not be
// another's.
func TestViewAnswersKeepTheirBytes(t *testing.T) {
	b := open(t, t.TempDir())
	stage := push(t, b, "identity", wasmtest.Identity())
	const topics = 8
	for i := range topics {
		name := fmt.Sprint("topic", i)
		createTopic(t, b, name, 1)
		produce(t, b, name, 0, fmt.Sprint("value of ", i))
		if _, _, err := b.PutView(t.Context(), "view-of-"+name, api.ViewSpec{Topic: name, Stages: []api.Stage{stage}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		var answers []*broker.FetchResponse
		for i := range topics {
			name := fmt.Sprint("topic", i)
			if i%2 == 0 {
				name = "view-of-" + name
			}
			resp, err := b.Fetch(t.Context(), fetchOf(name, 0, 0))
			if err != nil {
				t.Fatal(err)
			}
			answers = append(answers, resp)
		}
		for i, resp := range answers {
			wantValues(t, recordtest.ValuesOf(t, resp.Partitions[0].Batches), fmt.Sprint("value of ", i))
		}
		for _, resp := range answers {
			resp.Release()
		}
	}
}

func TestAdHocPipeline(t *testing.T) {
	b := open(t, t.TempDir())
	createTopic(t, b, "orders", 1)
	produce(t, b, "orders", 0, "ed", "keep", "d", "ekeepx")
	stage := commands(t, b)
	if _, _, err := b.PutView(t.Context(), "seen", api.ViewSpec{Topic: "orders", Stages: []api.Stage{stage}}, nil); err != nil {
		t.Fatal(err)
	}
	fetch := func(topic string, stages ...api.Stage) broker.FetchedPartition {
		t.Helper()
		req := fetchOf(topic, 0, 0)
		req.Partitions[0].Stages = stages
		resp, err := b.Fetch(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Release()
		p := resp.Partitions[0]
		p.Batches = slices.Clone(p.Batches)
		return p
	}
	p := fetch("orders", stage, stage) // "ed" becomes "e", of which the second stage leaves ""
	if p.Err != nil {
		t.Fatal(p.Err)
	}
	wantValues(t, recordtest.ValuesOf(t, p.Batches), "", "keep", "ekee")
	if p.NextOffset != 4 {
		t.Errorf("scanned to %d, want 4", p.NextOffset)
	}
	wantCode(t, fetch("seen", stage).Err, errcode.InvalidRequest)
	wantCode(t, fetch("orders", api.Stage{Module: "nothing"}).Err, errcode.UnknownModule)
	bad := stage
	bad.Config = json.RawMessage(`[`)
	wantCode(t, fetch("orders", bad).Err, errcode.InvalidPipeline)
	many := slices.Repeat([]api.Stage{stage}, api.MaxStages+1)
	wantCode(t, fetch("orders", many...).Err, errcode.InvalidPipeline)
}
