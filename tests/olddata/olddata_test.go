package olddata

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, os.Stderr)) //nolint:forbidigo // this is the test binary's main
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// observe is Observe as JSON takes it apart, in the form that differences compares.
func observe(t *testing.T, c *client.Client) any {
	t.Helper()
	s, err := Observe(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return plain(t, s)
}

func plain(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// differences lists what of want is not so in got. Members that got has besides are none: a later
// version may show more.
func differences(at string, want, got any) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v instead of an object", at, got)}
		}
		var all []string
		for name, v := range w {
			all = append(all, differences(at+"."+name, v, g[name])...)
		}
		return all
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return []string{fmt.Sprintf("%s is %v instead of %v", at, got, want)}
		}
		var all []string
		for i := range w {
			all = append(all, differences(fmt.Sprintf("%s[%d]", at, i), w[i], g[i])...)
		}
		return all
	}
	if !reflect.DeepEqual(want, got) {
		return []string{fmt.Sprintf("%s is %v instead of %v", at, got, want)}
	}
	return nil
}

func expectSame(t *testing.T, when string, want, got any) {
	t.Helper()
	for _, d := range differences("state", want, got) {
		t.Errorf("%s: %s", when, d)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// A data directory of every earlier version opens: all that was acknowledged is there, producers that
// repeat their last batch get its first answer, and derivations go on where they were.
func TestDataOfEarlierVersions(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no data directories: %v", err)
	}
	for _, archive := range archives {
		name := strings.TrimSuffix(archive, ".tar.gz")
		t.Run(filepath.Base(name), func(t *testing.T) { openOld(t, name) })
	}
}

func openOld(t *testing.T, name string) {
	data := filepath.Join(t.TempDir(), "data")
	if err := Unpack(name+".tar.gz", data); err != nil {
		t.Fatal(err)
	}
	want, err := Load(name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	b := harness.Start(t, harness.Options{Data: data})
	c := b.Client(t)
	expectSame(t, "after opening", plain(t, want.State), observe(t, c))
	checkFilters(t, c, want.Filters)

	for _, p := range want.Producers {
		repeat(t, c, p)
	}
	expectSame(t, "after repetitions", plain(t, want.State), observe(t, c))
	checkNewProducer(t, c, want.Producers)
	for _, p := range want.Producers {
		if p.NextSequence >= 0 {
			goOn(t, c, p)
		}
	}
	for _, f := range want.Filters {
		for p := range f.From {
			produce(t, c, f.Source, int32(p), recordtest.Build(t, record.BuilderOptions{}, recordtest.Values("kept", "dropped", "kept as well")...))
		}
	}
	checkFilters(t, c, want.Filters)

	now := observe(t, c)
	b.Kill(t)
	b = b.Restart(t)
	c = b.Client(t)
	expectSame(t, "after a kill", now, observe(t, c))
	checkFilters(t, c, want.Filters)
	b.Stop(t)
	b = b.Restart(t)
	expectSame(t, "after an orderly stop", now, observe(t, b.Client(t)))
}

// repeat sends a producer's last batch again: it is recognised and answered as it was at first.
func repeat(t *testing.T, c *client.Client, p Producer) {
	t.Helper()
	done := produce(t, c, p.Topic, p.Partition, bytes.Clone(p.Batch))
	if !done.Duplicate || done.BaseOffset != p.BaseOffset {
		t.Errorf("producer %d repeated its batch at offset %d of %s/%d and was answered %+v", p.ID, p.BaseOffset, p.Topic, p.Partition, done)
	}
}

// goOn sends the producer's next batch, which is no repetition.
func goOn(t *testing.T, c *client.Client, p Producer) {
	t.Helper()
	o := record.BuilderOptions{Producer: &record.Producer{ID: p.ID, Epoch: p.Epoch, BaseSequence: p.NextSequence}}
	if done := produce(t, c, p.Topic, p.Partition, recordtest.Build(t, o, recordtest.Values("kept next")...)); done.Duplicate || done.Count != 1 {
		t.Errorf("producer %d went on with sequence %d in %s/%d and was answered %+v", p.ID, p.NextSequence, p.Topic, p.Partition, done)
	}
}

func checkNewProducer(t *testing.T, c *client.Client, known []Producer) {
	t.Helper()
	id, err := c.AllocateProducerID(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(known, func(p Producer) bool { return p.ID >= id.ID }) {
		t.Errorf("producer id %d is not above all that were given out", id.ID)
	}
}

func checkFilters(t *testing.T, c *client.Client, filters []Filter) {
	t.Helper()
	if _, err := CaughtUp(deadline(t), c); err != nil {
		t.Fatal(err)
	}
	for _, f := range filters {
		if err := f.Check(deadline(t), c); err != nil {
			t.Fatal(err)
		}
	}
}

func produce(t *testing.T, c *client.Client, topic string, partition int32, body []byte) client.ProducedPartition {
	t.Helper()
	res, err := c.ProduceBatches(deadline(t), topic, partition, body)
	if err == nil {
		err = res.Err()
	}
	if err != nil {
		t.Fatalf("produce to %s/%d: %v", topic, partition, err)
	}
	return res.Partitions[0]
}

func TestDifferencesAreFound(t *testing.T) {
	want := plain(t, map[string]any{"a": 1, "l": []any{map[string]any{"x": "y"}}, "o": map[string]any{}})
	if d := differences("state", want, plain(t, map[string]any{"a": 1, "l": []any{map[string]any{"x": "y", "more": 1}}, "o": map[string]any{}, "more": 2})); len(d) != 0 {
		t.Errorf("additional members are differences: %q", d)
	}
	for _, got := range []map[string]any{
		{"a": 2, "l": []any{map[string]any{"x": "y"}}, "o": map[string]any{}},
		{"l": []any{map[string]any{"x": "y"}}, "o": map[string]any{}},
		{"a": 1, "l": []any{map[string]any{"x": "z"}}, "o": map[string]any{}},
		{"a": 1, "l": []any{}, "o": map[string]any{}},
		{"a": 1, "l": []any{map[string]any{"x": "y"}}, "o": nil},
	} {
		if d := differences("state", want, plain(t, got)); len(d) != 1 {
			t.Errorf("%v has differences %q", got, d)
		}
	}
}
