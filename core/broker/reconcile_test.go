package broker_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

func setPipeline(t testing.TB, b *broker.Broker, topic string, stages ...api.Stage) {
	t.Helper()
	if _, _, err := b.SetPipeline(t.Context(), topic, api.PipelineSpec{Stages: stages}, nil); err != nil {
		t.Fatal(err)
	}
}

// TestPipelineThatCannotBeLoaded damages a module between two starts: the broker serves the rest, lets
// nothing through unchecked, and goes on once the module is what it was.
func TestPipelineThatCannotBeLoaded(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	createTopic(t, b, "checked", 1)
	createTopic(t, b, "derived", 1)
	createTopic(t, b, "plain", 1)
	stage := commands(t, b)
	setPipeline(t, b, "checked", stage)
	if _, _, err := b.PutView(t.Context(), "seen", api.ViewSpec{Topic: "checked", Stages: []api.Stage{stage}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.PutDerivation(t.Context(), "d", api.DerivationSpec{Topic: "checked", Output: "derived", Stages: []api.Stage{stage}}, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, b, "checked", 0, "keep", "drop")
	closeBroker(t, b)
	modules, err := filepath.Glob(filepath.Join(dir, "modules", "*.wasm"))
	if err != nil || len(modules) != 1 {
		t.Fatal(modules, err)
	}
	sound, err := os.ReadFile(modules[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(modules[0], sound[:len(sound)-1], 0o600); err != nil {
		t.Fatal(err)
	}

	b = open(t, dir)
	_, err = b.ProduceBatches(t.Context(), "checked", 0, batch(t, "drop"))
	wantCode(t, err, errcode.InvalidPipeline)
	if !strings.Contains(err.Error(), "push the module again") {
		t.Errorf("the error does not say what to do: %v", err)
	}
	_, err = b.ProduceRecords(t.Context(), "checked", []broker.InputRecord{{Record: record.Record{Value: []byte("drop")}}})
	wantCode(t, err, errcode.InvalidPipeline)
	resp, err := b.Fetch(t.Context(), fetchOf("seen", 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, resp.Partitions[0].Err, errcode.InvalidPipeline)
	info, err := b.Derivation(t.Context(), "d")
	if err != nil || len(info.Progress) != 1 || info.Progress[0].Error == "" {
		t.Errorf("the derivation says %+v, %v", info, err)
	}
	got, _ := read(t, b, "checked", 0, 0) // the topic itself can be read
	wantValues(t, got, "keep")
	produce(t, b, "plain", 0, "a")

	if err := os.WriteFile(modules[0], sound, 0o600); err != nil {
		t.Fatal(err)
	}
	createTopic(t, b, "another", 1) // any change of the metadata makes the broker try again
	produce(t, b, "checked", 0, "drop", "keep too")
	got, _ = read(t, b, "checked", 0, 0)
	wantValues(t, got, "keep", "keep too")
	got, _ = read(t, b, "seen", 0, 0)
	wantValues(t, got, "keep", "keep too")
	wantValues(t, readN(t, b, "derived", 0, 2), "keep", "keep too")
}

// readN waits until a partition has n records and returns all that it has then.
func readN(t testing.TB, b *broker.Broker, topic string, partition int32, n int) []string {
	t.Helper()
	var got []string
	for offset := int64(0); len(got) < n; {
		req := fetchOf(topic, partition, offset)
		req.Wait = time.Minute
		resp, err := b.Fetch(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		p := resp.Partitions[0]
		if p.Err != nil {
			t.Fatal(p.Err)
		}
		if p.NextOffset == offset {
			t.Fatalf("%s/%d has %d records after a minute, want %d", topic, partition, len(got), n)
		}
		got = append(got, recordtest.ValuesOf(t, p.Batches)...)
		offset = p.NextOffset
		resp.Release()
	}
	return got
}

// TestRequestsSeeOneVersion switches a topic's pipeline, a view and the view's pipeline under load: every
// request goes through one version whole, and none is refused.
func TestRequestsSeeOneVersion(t *testing.T) {
	b := open(t, t.TempDir())
	createTopic(t, b, "orders", 1)
	createTopic(t, b, "source", 1)
	stage := commands(t, b)
	versions := [][]api.Stage{{stage}, {stage, stage}} // "eexx" becomes "eex" or "ee"
	produce(t, b, "source", 0, slices.Repeat([]string{"eexx"}, 20)...)
	install := func(i int) {
		setPipeline(t, b, "orders", versions[i%2]...)
		if _, _, err := b.PutView(t.Context(), "seen", api.ViewSpec{Topic: "source", Stages: versions[i%2]}, nil); err != nil {
			t.Error(err)
		}
	}
	install(0)
	var over atomic.Bool
	var load sync.WaitGroup
	uniform := func(what string, values []string) {
		if len(slices.Compact(slices.Clone(values))) != 1 || values[0] != "eex" && values[0] != "ee" {
			t.Errorf("%s mixes versions: %q", what, values)
		}
	}
	var done atomic.Int64
	for range 2 {
		load.Go(func() {
			for !over.Load() {
				if _, err := b.ProduceBatches(t.Context(), "orders", 0, batch(t, slices.Repeat([]string{"eexx"}, 20)...)); err != nil {
					t.Error(err)
				}
				done.Add(1)
			}
		})
		load.Go(func() {
			for !over.Load() {
				resp, err := b.Fetch(t.Context(), fetchOf("seen", 0, 0))
				if err != nil {
					t.Error(err)
					return
				}
				if p := resp.Partitions[0]; p.Err != nil {
					t.Error(p.Err)
				} else {
					uniform("a fetch", recordtest.ValuesOf(t, p.Batches))
				}
				resp.Release()
			}
		})
	}
	for i := range 20 {
		install(i + 1)
	}
	over.Store(true)
	load.Wait()
	all := readN(t, b, "orders", 0, int(done.Load())*20)
	for one := range slices.Chunk(all, 20) {
		uniform("a batch", one)
	}
}

// TestPartitionsAddedUnderLoad: what is acknowledged while a topic grows is there once, and derivations
// take the new partitions up.
func TestPartitionsAddedUnderLoad(t *testing.T) {
	b := open(t, t.TempDir())
	createTopic(t, b, "orders", 1)
	createTopic(t, b, "copies", 1)
	_, _, err := b.PutDerivation(t.Context(), "copy", api.DerivationSpec{Topic: "orders", Output: "copies", Stages: []api.Stage{commands(t, b)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	var load sync.WaitGroup
	acked := make([]int, 3)
	for w := range acked {
		load.Go(func() {
			for ; !over.Load(); acked[w]++ {
				value := fmt.Appendf(nil, "k%d-%d", w, acked[w])
				r := broker.InputRecord{Record: record.Record{Key: value, Value: value}, Partition: broker.AnyPartition}
				if w == 0 {
					r.Key = nil
				}
				if _, err := b.ProduceRecords(t.Context(), "orders", []broker.InputRecord{r}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, n := range []int32{2, 5, 9} {
		info, err := b.AlterTopic(t.Context(), "orders", api.TopicChange{Partitions: n})
		if err != nil || info.Partitions != n || len(info.State) != int(n) {
			t.Errorf("grown to %+v, %v", info, err)
		}
		produce(t, b, "orders", n-1, fmt.Sprint("k new ", n))
	}
	over.Store(true)
	load.Wait()
	var want []string
	for w, n := range acked {
		for i := range n {
			want = append(want, fmt.Sprintf("k%d-%d", w, i))
		}
	}
	want = append(want, "k new 2", "k new 5", "k new 9")
	var got []string
	for p := range int32(9) {
		values, _ := read(t, b, "orders", p, 0)
		got = append(got, values...)
	}
	copies := readN(t, b, "copies", 0, len(want))
	slices.Sort(want)
	slices.Sort(got)
	slices.Sort(copies)
	wantValues(t, got, want...)
	wantValues(t, copies, want...)
}

// TestLeftoversOfDeletedTopics: what an interrupted deletion left goes at the next start; directories that
// the metadata never knew of stay.
func TestLeftoversOfDeletedTopics(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	createTopic(t, b, "gone", 1)
	createTopic(t, b, "stays", 1)
	produce(t, b, "stays", 0, "a")
	if err := b.DeleteTopic(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	closeBroker(t, b)
	partitions := filepath.Join(dir, "partitions")
	for _, name := range []string{"gone.1", "foreign.77", "no number"} {
		if err := os.MkdirAll(filepath.Join(partitions, name, "0"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b = open(t, dir)
	got, _ := read(t, b, "stays", 0, 0)
	wantValues(t, got, "a")
	if _, err := os.Stat(filepath.Join(partitions, "gone.1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left of a deleted topic: %v", err)
	}
	for _, name := range []string{"foreign.77", "no number", "stays.2"} {
		if _, err := os.Stat(filepath.Join(partitions, name)); err != nil {
			t.Error(err)
		}
	}
}
