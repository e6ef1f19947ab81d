//go:build !race

// Package plugins_test builds the ready-made plugins and the Go SDK's examples as guests and
// takes records through them as a broker does. What each of them does is tested natively
// beside its source; here it is shown that the guest does the same.
package plugins_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/sdk"
	"github.com/wasmill/wasmill/sdk/conformance"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// outcome is what becomes of one record: its fate, its value where it stays, its topic where
// it leaves.
type outcome struct {
	kind  pipeline.Kind
	value string
	topic string
}

func outcomes(r *pipeline.Result) []outcome {
	all := make([]outcome, len(r.Verdicts))
	for i, v := range r.Verdicts {
		all[i].kind = v.Kind
	}
	for _, e := range r.Own {
		all[e.Source].value = string(e.Value)
	}
	for _, e := range r.Routed {
		all[e.Source].topic = e.Topic
	}
	return all
}

func guest(t testing.TB, dir string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest.wasm")
	if err := sdk.BuildGo(context.Background(), dir, file); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func TestGuests(t *testing.T) {
	region := []record.RecordHeader{{Key: []byte("region"), Value: []byte("us")}}
	for _, c := range []struct {
		dir, config string
		records     []record.Record
		want        []outcome
	}{
		{"redact-email", `{"replacement":"-","fields":["m"]}`,
			[]record.Record{{Value: []byte(`{"m":"Joe <joe@x.org>","o":"j@x.org"}`)}, {Value: []byte(`{"m":"none"}`)}, {}},
			[]outcome{{pipeline.Changed, `{"m":"Joe <->","o":"j@x.org"}`, ""}, {pipeline.Kept, `{"m":"none"}`, ""}, {pipeline.Kept, "", ""}}},
		{"route-by-field", `{"field":"s","routes":{"games":"t-games"}}`,
			[]record.Record{{Value: []byte(`{"s":"games"}`)}, {Value: []byte(`{"s":"net"}`)}},
			[]outcome{{pipeline.Routed, "", "t-games"}, {pipeline.Kept, `{"s":"net"}`, ""}}},
		{"filter-field", `{"field":"n","min":2,"matches":"^[0-9]$"}`,
			[]record.Record{{Value: []byte(`{"n":2}`)}, {Value: []byte(`{"n":1}`)}, {Value: []byte(`{"n":10}`)}},
			[]outcome{{pipeline.Kept, `{"n":2}`, ""}, {pipeline.Dropped, "", ""}, {pipeline.Dropped, "", ""}}},
		{"../sdk/go/examples/filter", `{"prefix":"eu-"}`,
			[]record.Record{{Key: []byte("eu-1")}, {Key: []byte("us-1")}},
			[]outcome{{pipeline.Kept, "", ""}, {pipeline.Dropped, "", ""}}},
		{"../sdk/go/examples/redact", `{"field":"f","with":"*"}`,
			[]record.Record{{Value: []byte(`{"f":1}`)}, {Value: []byte(`{`)}},
			[]outcome{{pipeline.Changed, `{"f":"*"}`, ""}, {pipeline.Rejected, "", ""}}},
		{"../sdk/go/examples/router", `{"prefix":"to-"}`,
			[]record.Record{{Headers: region}, {Value: []byte("x")}},
			[]outcome{{pipeline.Routed, "", "to-us"}, {pipeline.Kept, "x", ""}}},
	} {
		t.Run(filepath.Base(c.dir), func(t *testing.T) {
			got := conformance.Run(t, guest(t, c.dir), c.config, c.records...)
			if fmt.Sprint(outcomes(got)) != fmt.Sprint(c.want) {
				t.Errorf("%+v, want %+v", outcomes(got), c.want)
			}
		})
	}
}

// TestGuestsTakeManyLargeBatches lets the garbage collector of a Go guest run between and during calls.
func TestGuestsTakeManyLargeBatches(t *testing.T) {
	g, err := conformance.Load(t, guest(t, "redact-email"), `{"replacement":"-"}`)
	if err != nil {
		t.Fatal(err)
	}
	value := []byte(`{"m":"` + string(bytes.Repeat([]byte("joe@example.org, "), 60)) + `"}`)
	want := []byte(`{"m":"` + string(bytes.Repeat([]byte("-, "), 60)) + `"}`)
	for round := range 30 {
		records := make([]record.Record, 200+round*10)
		for i := range records {
			records[i].Value = value
		}
		got := g.Run(records...)
		if len(got.Own) != len(records) {
			t.Fatalf("round %d: %d of %d records", round, len(got.Own), len(records))
		}
		for _, r := range got.Own {
			if !bytes.Equal(r.Value, want) {
				t.Fatalf("round %d, record %d: %q", round, r.Source, r.Value)
			}
		}
	}
}

// BenchmarkGuests takes batches of 100 records of about 1 KiB through each plugin.
func BenchmarkGuests(b *testing.B) {
	value := []byte(`{"name":"x","section":"games","size":10,"maintainer":"Joe <joe@example.org>","text":"` + strings.Repeat("lorem ipsum ", 75) + `"}`)
	for _, c := range []struct{ dir, config string }{
		{"redact-email", `{"fields":["maintainer"]}`},
		{"redact-email", `{}`},
		{"route-by-field", `{"field":"section","routes":{"net":"t"}}`},
		{"filter-field", `{"field":"size","min":11}`},
		{"../sdk/go/examples/filter", `{"prefix":"x"}`},
	} {
		b.Run(filepath.Base(c.dir)+c.config, func(b *testing.B) {
			g, err := conformance.Load(b, guest(b, c.dir), c.config)
			if err != nil {
				b.Fatal(err)
			}
			records := make([]record.Record, 100)
			for i := range records {
				records[i].Key, records[i].Value = []byte("key"), value
			}
			b.SetBytes(int64(100 * len(value)))
			b.ResetTimer()
			for b.Loop() {
				g.Run(records...)
			}
			b.ReportMetric(float64(100*b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
