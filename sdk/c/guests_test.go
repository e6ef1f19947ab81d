package c_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/sdk/conformance"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

func guest(t *testing.T, path string) []byte {
	t.Helper()
	wasm, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// stale compares a lock with the files of a directory and names those that differ. Sources
// and guests that the lock does not know count as different.
func stale(dir string, lock []byte) ([]string, error) {
	known := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(lock)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == "sha256" {
			known[f[2]] = f[1]
		}
	}
	var different []string
	for _, pattern := range []string{"build.sh", "wasmill.h", "*/*.c", "*/*/*.c", "*/*.wasm", "*/*/*.wasm"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			name, _ := filepath.Rel(dir, file)
			name = filepath.ToSlash(name)
			if known[name] != fmt.Sprintf("%x", sha256.Sum256(content)) {
				different = append(different, name)
			}
			delete(known, name)
		}
	}
	for name := range known {
		different = append(different, name+" (missing)")
	}
	return different, nil
}

func TestGuestsAreBuiltFromTheirSources(t *testing.T) {
	different, err := stale(".", guest(t, "guests.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if len(different) > 0 {
		t.Errorf("%s changed without the guests: run sdk/c/build.sh and commit the guests with guests.lock", strings.Join(different, ", "))
	}
}

func TestAStaleGuestIsNoticed(t *testing.T) {
	lock := guest(t, "guests.lock")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, "examples", "filter", "filter.c")
	if err := os.WriteFile(source, append(guest(t, source), '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	different, err := stale(dir, lock)
	if err != nil || len(different) != 1 || different[0] != "examples/filter/filter.c" {
		t.Errorf("changed files: %v, %v", different, err)
	}
}

func TestVectors(t *testing.T) {
	conformance.Mirror(t, os.DirFS("../spec/vectors"), guest(t, "conformance/mirror.wasm"))
}

func TestFilter(t *testing.T) {
	wasm := guest(t, "examples/filter/filter.wasm")
	got := conformance.Run(t, wasm, `{"contains":"\"level\":\"error\""}`,
		record.Record{Value: []byte(`{"level":"error"}`)},
		record.Record{Value: []byte(`{"level":"info"}`)},
		record.Record{Value: []byte(`"level":"erro"level":"error"`)},
		record.Record{Value: []byte(`"level":"erro`)},
		record.Record{},
	)
	want := []pipeline.Kind{pipeline.Kept, pipeline.Dropped, pipeline.Kept, pipeline.Dropped, pipeline.Dropped}
	for i, v := range got.Verdicts {
		if v.Kind != want[i] {
			t.Errorf("record %d is %v, want %v", i, v.Kind, want[i])
		}
	}
	if !got.OnlyFiltered() {
		t.Error("a filter must leave the records as they are")
	}
	if _, err := conformance.Load(t, wasm, `{}`); err == nil || !strings.Contains(err.Error(), `needs a "contains"`) {
		t.Errorf("a filter without its configuration: %v", err)
	}
}

func TestTransform(t *testing.T) {
	values := []string{"pay 4111 1111-1111 1234, thanks", "order 12345678901", "id 12345678901234567890", "none", "",
		"a 123456789012 b 9999999999999"}
	want := []string{"pay **** ****-**** 1234, thanks", "order 12345678901", "id 12345678901234567890", "none", "",
		"a ********9012 b *********9999"}
	var records []record.Record
	for _, v := range values {
		records = append(records, record.Record{
			Key: []byte("k"), Value: []byte(v), Timestamp: 5,
			Headers: []record.RecordHeader{{Key: []byte("trace"), Value: []byte("1")}},
		})
	}
	got := conformance.Run(t, guest(t, "examples/transform/transform.wasm"), ``, records...)
	if v := got.Verdicts[4]; v.Kind != pipeline.Rejected || v.Code != 1 || v.Message != "the value is empty" {
		t.Errorf("an empty value is %+v", v)
	}
	for _, r := range got.Own {
		if string(r.Value) != want[r.Source] || string(r.Key) != "k" || r.Timestamp != 5 {
			t.Errorf("record %d: key %q, value %q, timestamp %d; want value %q", r.Source, r.Key, r.Value, r.Timestamp, want[r.Source])
		}
		headers := 1
		if values[r.Source] != want[r.Source] {
			headers = 2
		}
		if len(r.Headers) != headers || string(r.Headers[0].Key) != "trace" {
			t.Errorf("record %d: headers %q", r.Source, r.Headers)
		}
	}
	if len(got.Own) != 5 {
		t.Errorf("%d records stay, want 5", len(got.Own))
	}
	last := got.Own[len(got.Own)-1].Headers
	if h := last[len(last)-1]; string(h.Key) != "masked" || string(h.Value) != "2" {
		t.Errorf("the last header is %q", h)
	}
}

func TestRouter(t *testing.T) {
	got := conformance.Run(t, guest(t, "examples/router/router.wasm"), `{"prefix":"by-kind-"}`,
		record.Record{Key: []byte("order:1"), Value: []byte("a")},
		record.Record{Key: []byte("plain"), Value: []byte("b")},
		record.Record{Key: []byte(":x"), Value: []byte("c")},
		record.Record{Value: []byte("d")},
	)
	if len(got.Routed) != 1 || got.Routed[0].Topic != "by-kind-order" || string(got.Routed[0].Value) != "a" {
		t.Errorf("routed %+v", got.Routed)
	}
	if len(got.Own) != 3 || got.Verdicts[0].Kind != pipeline.Routed {
		t.Errorf("%d records stay; the first is %v", len(got.Own), got.Verdicts[0].Kind)
	}
}

// TestLargeBatch makes the guest's memory grow and its arena turn over.
func TestLargeBatch(t *testing.T) {
	g, err := conformance.Load(t, guest(t, "examples/transform/transform.wasm"), `{}`)
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("4111111111111111,"), 100)
	masked := bytes.Repeat([]byte("************1111,"), 100)
	for round := range 5 {
		records := make([]record.Record, 400*(round+1))
		for i := range records {
			records[i].Value = value
		}
		got := g.Run(records...)
		for _, r := range got.Own {
			if !bytes.Equal(r.Value, masked) {
				t.Fatalf("round %d, record %d: %q", round, r.Source, r.Value)
			}
		}
		if len(got.Own) != len(records) {
			t.Fatalf("round %d: %d records of %d", round, len(got.Own), len(records))
		}
	}
}
