package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// While producers send batch after batch, the pipeline changes back and forth between two versions of a
// module. No batch may be seen by both, or by none; after the switch was answered none may see the old.
func TestPipelineSwitchIsAtomic(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 2)
	for _, v := range []string{"v1", "v2"} {
		must(c.PutModule(deadline(t), "stamp", stamping(v)))(t)
	}
	set := func(module string) {
		t.Helper()
		must(c.SetPipeline(deadline(t), "orders", []client.Stage{{Module: module}}))(t)
	}
	set("stamp@1")
	const producers, perBatch = 4, 50
	stop := make(chan struct{})
	var group sync.WaitGroup
	for p := range producers {
		pc := b.Client(t)
		group.Go(func() {
			for i := 0; ; i++ {
				var recs []string
				for range perBatch {
					recs = append(recs, fmt.Sprintf("batch %d/%d", p, i))
				}
				res, err := pc.ProduceBatches(deadline(t), "orders", int32(p%2), batch(t, record.BuilderOptions{}, recs...))
				if err != nil || res.Count() != perBatch {
					t.Errorf("produce: %+v, %v", res, err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range 30 {
		stamp := fmt.Sprintf("v%d", 2-i%2)
		set("stamp@" + stamp[1:])
		at := produce(t, c, "orders", 0, "probe")
		got := must(c.FetchPartition(deadline(t), client.PartitionFetch{Topic: "orders", Offset: fmt.Sprint(at), MaxBytes: 1}))(t)
		i := slices.IndexFunc(decode(t, got.Partitions[0].Batches), func(r row) bool { return r.Offset == at })
		if r := decode(t, got.Partitions[0].Batches)[i]; r.Key != stamp {
			t.Errorf("after the switch to %s a record was seen by %q", stamp, r.Key)
		}
		got.Release()
	}
	close(stop)
	group.Wait()
	stamps := map[string]map[string]int{} // batch -> stamp -> records
	perStamp := map[string]int{}
	for p := range int32(2) {
		for _, r := range rows(t, c, "orders", p) {
			if r.Value == "probe" {
				continue
			}
			if stamps[r.Value] == nil {
				stamps[r.Value] = map[string]int{}
			}
			stamps[r.Value][r.Key]++
			perStamp[r.Key]++
		}
	}
	for id, seen := range stamps {
		if len(seen) != 1 || seen["v1"]+seen["v2"] != perBatch {
			t.Errorf("%s was seen by %v", id, seen)
		}
	}
	if perStamp["v1"] == 0 || perStamp["v2"] == 0 {
		t.Errorf("only %v: no switch fell between the batches", perStamp)
	}
	t.Logf("%d batches, records %v", len(stamps), perStamp)
}

// Rollback is naming the old version; what is in use cannot be deleted; the versions outlive a restart.
func TestRollbackByVersion(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 1)
	one := must(c.PutModule(deadline(t), "stamp", stamping("one")))(t)
	set := func(module string) *client.Pipeline {
		t.Helper()
		return must(c.SetPipeline(deadline(t), "orders", []client.Stage{{Module: module}}))(t)
	}
	set("stamp")
	produce(t, c, "orders", 0, "a")
	two := must(c.PutModule(deadline(t), "stamp", stamping("two")))(t)
	if one.Version != 1 || two.Version != 2 || one.SHA256 == two.SHA256 {
		t.Fatalf("versions %+v, %+v", one, two)
	}
	produce(t, c, "orders", 0, "b") // a new version changes nothing until a pipeline names it
	set("stamp")
	produce(t, c, "orders", 0, "c")
	back := set("stamp@1")
	produce(t, c, "orders", 0, "d")
	err := c.DeleteModule(deadline(t), "stamp", 1)
	if !client.IsCode(err, errcode.ModuleInUse) || !strings.Contains(err.Error(), "orders") {
		t.Errorf("deleting a module in use: %v", err)
	}
	b.Kill(t)
	b = b.Restart(t)
	c = b.Client(t)
	if p := must(c.Pipeline(deadline(t), "orders"))(t); p.Version != back.Version || p.Stages[0].Version != 1 {
		t.Errorf("pipeline after a restart: %+v", p)
	}
	produce(t, c, "orders", 0, "e")
	again := must(c.PutModule(deadline(t), "stamp", stamping("two")))(t)
	if again.Version != 2 {
		t.Errorf("the same bytes got version %d", again.Version)
	}
	if err := c.DeletePipeline(deadline(t), "orders"); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "orders", 0, "f=f")
	var got []string
	for _, r := range rows(t, c, "orders", 0) {
		got = append(got, r.Key+":"+r.Value)
	}
	expectValues(t, "orders", got, "one:a", "one:b", "two:c", "one:d", "one:e", "f:f")
}

// Kept records keep their offsets and their bytes; routed ones are where the answer says.
func TestWritePipelineTellsEveryVerdict(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	commands(t, c, 1, 3)
	res := must(c.ProduceBatches(deadline(t), "in", 0,
		batch(t, record.BuilderOptions{Codec: record.CodecZstd}, "k=kept", "d drop", "k=x routed", "c copied", "r no", "emit", "f thrice")))(t)
	p := res.Partitions[0]
	if len(res.Partitions) != 1 || p.BaseOffset != 0 || p.Count != 6 {
		t.Errorf("partitions %+v", res.Partitions)
	}
	if !slices.Equal(res.Dropped, []int{1}) || len(res.Rejected) != 1 || res.Rejected[0].Index != 4 ||
		res.Rejected[0].Code != wasmtest.CommandCode || res.Rejected[0].Message != wasmtest.CommandMessage {
		t.Errorf("dropped %v, rejected %+v", res.Dropped, res.Rejected)
	}
	var got []string
	for _, r := range rows(t, c, "in", 0) {
		got = append(got, fmt.Sprint(r.Offset, " ", r.Value))
	}
	expectValues(t, "in", got, "0 kept", "3 c copied", "5 emi", "6 f thrice", "7 f thrice", "8 f thrice")
	if len(res.Routed) != 2 {
		t.Fatalf("routed %+v", res.Routed)
	}
	for i, want := range []row{{Key: "k", Value: "x routed"}, {Value: "c copied"}} {
		r := res.Routed[i]
		found := rows(t, c, r.Topic, r.Partition)
		at := slices.IndexFunc(found, func(f row) bool { return f.Offset == r.Offset })
		if r.Index != 2+i || r.Topic != wasmtest.CommandTopic || at < 0 || found[at].Value != want.Value || found[at].Key != want.Key {
			t.Errorf("routed %+v, there is %+v", r, found)
		}
	}
	if res.Routed[1].Partition != 2 {
		t.Errorf("the module's partition was not taken: %+v", res.Routed[1])
	}
	if res.Routed[0].Partition != record.PartitionForKey([]byte("k"), 3) {
		t.Errorf("the key's partition was not taken: %+v", res.Routed[0])
	}
}

// A view shows a topic through a pipeline: offsets stay the source's, readers move past what it leaves out,
// nobody writes to it, and it outlives a restart.
func TestViewEndToEnd(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 1)
	must(c.PutModule(deadline(t), "commands", wasmtest.Commands(0)))(t)
	must(c.PutView(deadline(t), "seen", "orders", []client.Stage{{Module: "commands"}}))(t)
	produce(t, c, "orders", 0, "keep 0", "drop 1", "emit 2", "trap 3")
	produce(t, c, "orders", 0, "drop 4", "drop 5")
	produce(t, c, "orders", 0, "keep 6", "drop 7")
	check := func() {
		t.Helper()
		res := must(c.FetchPartition(deadline(t), client.PartitionFetch{Topic: "seen", Offset: "0"}))(t)
		defer res.Release()
		p := res.Partitions[0]
		var got []string
		for _, r := range decode(t, p.Batches) {
			got = append(got, fmt.Sprint(r.Offset, " ", r.Value))
		}
		expectValues(t, "view", got, "0 keep 0", "2 emit ", "6 keep 6")
		if p.NextOffset != 8 || p.HighWatermark != 8 {
			t.Errorf("next offset %d, high watermark %d", p.NextOffset, p.HighWatermark)
		}
		expectValues(t, "the topic itself", values(rows(t, c, "orders", 0)),
			"keep 0", "drop 1", "emit 2", "trap 3", "drop 4", "drop 5", "keep 6", "drop 7")
	}
	check()
	adHoc := must(c.FetchPartition(deadline(t), client.PartitionFetch{Topic: "orders", Offset: "0", Stages: []client.AdHocStage{{Module: "commands@1"}}}))(t)
	expectValues(t, "ad hoc", values(decode(t, adHoc.Partitions[0].Batches)), "keep 0", "emit ", "keep 6")
	adHoc.Release()
	refusal{code: errcode.ViewReadOnly, says: []string{"seen", "orders"}}.
		expect(t, call(t, b, "POST", "/v1/topics/seen/records", []byte("x"), "Content-Type", "text/plain"))
	refusal{code: errcode.TopicInUse, says: []string{"seen"}}.expect(t, call(t, b, "DELETE", "/v1/topics/orders", nil))

	// A long poll through the view is not woken by what the view leaves out.
	var wait sync.WaitGroup
	woken := make(chan struct{})
	wait.Go(func() {
		defer close(woken)
		res := must(c.FetchPartition(deadline(t), client.PartitionFetch{Topic: "seen", Offset: "8", Wait: 30 * time.Second}))(t)
		defer res.Release()
		expectValues(t, "long poll", values(decode(t, res.Partitions[0].Batches)), "keep 9")
	})
	produce(t, b.Client(t), "orders", 0, "drop 8")
	produce(t, b.Client(t), "orders", 0, "keep 9")
	<-woken
	wait.Wait()
	b.Kill(t)
	b = b.Restart(t)
	c = b.Client(t)
	expectValues(t, "after a restart", values(rows(t, c, "seen", 0)), "keep 0", "emit ", "keep 6", "keep 9")
	if err := c.DeleteView(deadline(t), "seen"); err != nil {
		t.Fatal(err)
	}
	refusal{code: errcode.UnknownTopicOrPartition, says: []string{"seen"}}.expect(t, call(t, b, "GET", "/v1/topics/seen/partitions/0/records", nil))
}

// The same bytes under two names are stored once. Deleting one name must not take them from the other, even
// if that is just being uploaded.
func TestSharedModuleBytesSurviveDeletion(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	wasm := wasmtest.Identity()
	var group sync.WaitGroup
	for _, name := range []string{"one", "two", "three"} {
		c := b.Client(t)
		group.Go(func() {
			for range 40 {
				if _, err := c.PutModule(deadline(t), name, wasm); err != nil {
					t.Errorf("put %s: %v", name, err)
					return
				}
				if got, err := c.ModuleBytes(deadline(t), name, 0); err != nil || len(got) != len(wasm) {
					t.Errorf("bytes of %s: %d, %v", name, len(got), err)
					return
				}
				if err := c.DeleteModule(deadline(t), name, 0); err != nil {
					t.Errorf("delete %s: %v", name, err)
					return
				}
			}
		})
	}
	group.Wait()
}
