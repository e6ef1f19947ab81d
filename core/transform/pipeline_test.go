package transform

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/engine"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// modules are bytes by their hash.
type modules map[string][]byte

func (m modules) Get(_ context.Context, hash string) ([]byte, error) {
	if wasm, ok := m[hash]; ok {
		return wasm, nil
	}
	return nil, fmt.Errorf("module %s is not there", hash)
}

// newLoader knows the module "commands", and "lost", whose bytes are missing.
func newLoader(t testing.TB) *Loader {
	t.Helper()
	e, err := engine.New(engine.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	wasm := wasmtest.Commands(0)
	sum := sha256.Sum256(wasm)
	hash := hex.EncodeToString(sum[:])
	image := metadata.NewImage()
	for _, c := range []metadata.Command{
		metadata.CreateTopic{Name: "orders"},
		metadata.AddModule{Name: "commands", SHA256: hash, Size: int64(len(wasm)), ABI: "wasmill-v1"},
		metadata.AddModule{Name: "lost", SHA256: strings.Repeat("0", 64), Size: 1, ABI: "wasmill-v1"},
	} {
		if image, _, err = metadata.Apply(image, metadata.Entry{At: time.UnixMilli(1), Command: c}); err != nil {
			t.Fatal(err)
		}
	}
	return NewLoader(LoaderOptions{
		Engine: e, Modules: modules{hash: wasm}, Image: func() *metadata.Image { return image }, Logger: slog.New(slog.DiscardHandler),
	})
}

var commands = []metadata.Stage{{Module: "commands", Version: 1}}

func loadCommands(t testing.TB, place abi.Place) *Pipeline {
	t.Helper()
	p := newLoader(t).Load(t.Context(), Spec{Name: "orders", Version: 3, Place: place, Stages: commands})
	if p.Err() != nil || p.Version() != 3 || p.StageName(0) != "commands@1" {
		t.Fatalf("version %d: %v", p.Version(), p.Err())
	}
	t.Cleanup(p.Release)
	return p
}

func TestPipelineThatCannotBeLoadedSaysWhy(t *testing.T) {
	l := newLoader(t)
	p := l.Load(t.Context(), Spec{Name: "orders", Version: 3, Stages: []metadata.Stage{{Module: "lost", Version: 1}}})
	defer p.Release()
	if !errcode.Is(p.Err(), errcode.InvalidPipeline) || p.Version() != 3 {
		t.Errorf("version %d: %v", p.Version(), p.Err())
	}
	spec := Spec{Name: "orders", Stages: []metadata.Stage{{Module: "nothing"}}}
	if err := l.Check(t.Context(), spec, "orders"); !errcode.Is(err, errcode.UnknownModule) {
		t.Errorf("a module that is not there: %v", err)
	}
	if err := l.Check(t.Context(), Spec{Name: "orders"}, "orders"); !errcode.Is(err, errcode.InvalidPipeline) {
		t.Errorf("no stages: %v", err)
	}
	if err := l.Check(t.Context(), Spec{Name: "orders", Stages: []metadata.Stage{{Module: "commands"}}}, "orders"); err != nil {
		t.Error(err)
	}
	if gone := l.Load(t.Context(), Spec{Name: "orders", Stages: []metadata.Stage{{Module: "commands", Version: 9}}}); !errcode.Is(gone.Err(), errcode.UnknownModule) {
		t.Errorf("a version that is not there: %v", gone.Err())
	}
}

// TestSlotClosesWhatNobodyHolds replaces a version again and again while others run it: each run has one
// version whole, and in the end none is open.
func TestSlotClosesWhatNobodyHolds(t *testing.T) {
	l := newLoader(t)
	var s Slot
	if p := s.Acquire(); p != nil || s.Current().Version() != 0 || s.Current().Err() != nil {
		t.Fatal("an empty slot has a pipeline")
	}
	var none *Pipeline
	none.Release()
	var all []*Pipeline
	install := func(version uint64) {
		p := l.Load(t.Context(), Spec{Name: "orders", Version: version, Stages: commands})
		all = append(all, p)
		s.Replace(p)
	}
	install(1)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			x := GetTransformer()
			defer PutTransformer(x)
			budget := record.NewBudget(admission.Default().Unpack)
			data := recordtest.Batch(t, "keep", "drop")
			for {
				select {
				case <-stop:
					return
				default:
				}
				p := s.Acquire()
				if err := x.Decode(t.Context(), budget, data); err != nil {
					t.Error(err)
				}
				if err := x.Run(t.Context(), p, Input{Topic: "orders"}); err != nil || len(x.Result.Own) != 1 {
					t.Errorf("version %d: %v", p.Version(), err)
				}
				x.Release()
				p.Release()
			}
		})
	}
	for version := range uint64(20) {
		install(version + 2)
	}
	close(stop)
	load.Wait()
	s.Clear()
	for _, p := range all {
		if p.Acquire() {
			t.Errorf("version %d is still held", p.Version())
		}
	}
}

// rewrite runs a unit and returns what became of it.
func rewrite(t testing.TB, p *Pipeline, topics Topics, batches ...Batch) Rewritten {
	t.Helper()
	r, err := NewRewriter(record.NewBudget(admission.Default().Unpack), topics).Rewrite(t.Context(), Unit{Pipeline: p, Topic: "orders", Number: 2, Batches: batches})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRewriteOfADraftIsThatOfItsBatch: whether records are encoded before the pipeline or only after it,
// what is written is the same, byte for byte.
func TestRewriteOfADraftIsThatOfItsBatch(t *testing.T) {
	p := loadCommands(t, abi.PlaceWrite)
	topics := func() fakeTopics { return fakeTopics{wasmtest.CommandTopic: topicOf(wasmtest.CommandTopic, 3)} } // at its first turn
	for _, values := range [][]string{
		{"keep", "k2"}, {"keep", "drop", "k"}, {"drop"}, {"eX", "k", "d"}, {"fXY", "FAB", "d", "r", "k"}, {"xroute", "c", "k"}, {"r", "r"}, {"xonly"},
	} {
		for _, codec := range []record.Codec{record.CodecNone, record.CodecLZ4} {
			records := recordtest.Values(values...)
			for i := range records {
				records[i].Timestamp += int64(i)
				records[i].Headers = []record.RecordHeader{{Key: []byte("h"), Value: fmt.Append(nil, i)}}
			}
			collect := func(drafts bool) Batch {
				part := NewPartitioner(topicOf("orders", 1), PartitionerOptions{Codec: codec, Drafts: drafts})
				for i, r := range records {
					if err := part.Add(r, 0, 10+i); err != nil {
						t.Fatal(err)
					}
				}
				return finish(t, part)[0][0]
			}
			want, got := rewrite(t, p, topics(), collect(false)), rewrite(t, p, topics(), collect(true))
			if !bytes.Equal(got.Data, want.Data) || got.Written != want.Written {
				t.Errorf("%q in %v: the draft becomes %q, the batch %q", values, codec, recordtest.ValuesOf(t, got.Data), recordtest.ValuesOf(t, want.Data))
			}
			if !slices.Equal(got.Dropped, want.Dropped) || !slices.Equal(got.Rejected, want.Rejected) || len(got.Routed) != len(want.Routed) {
				t.Errorf("%q: verdicts %+v, want %+v", values, got, want)
			}
			for i := range got.Routed {
				if !bytes.Equal(Join(got.Routed[i].Batches), Join(want.Routed[i].Batches)) || !slices.Equal(got.Routed[i].Batches[0].Index, want.Routed[i].Batches[0].Index) {
					t.Errorf("%q: routed to %d: other records", values, i)
				}
			}
		}
	}
}

// TestRewriteKeepsBytesAndOffsets: an untouched batch is its own bytes, kept records keep their offsets, an
// idempotent producer's batch spans its sequences although nothing is left of it.
func TestRewriteKeepsBytesAndOffsets(t *testing.T) {
	p := loadCommands(t, abi.PlaceWrite)
	untouched := recordtest.Build(t, record.BuilderOptions{Codec: record.CodecGzip}, recordtest.Values("k1", "k2")...)
	r := rewrite(t, p, fakeTopics{}, Batch{Data: untouched})
	if &r.Data[0] != &untouched[0] || len(r.Data) != len(untouched) || r.Written != 2 {
		t.Error("an untouched batch was copied")
	}
	r = rewrite(t, p, fakeTopics{}, Batch{Data: recordtest.Batch(t, "d", "k1", "d", "eXY")})
	got := recordtest.Read(t, r.Data)
	if len(got) != 2 || got[0].Offset != 1 || got[1].Offset != 3 || string(got[1].Value) != "eX" || !slices.Equal(r.Dropped, []int{0, 2}) {
		t.Errorf("%+v, dropped %v", got, r.Dropped)
	}
	if r = rewrite(t, p, fakeTopics{}, Batch{Data: recordtest.Batch(t, "d")}); len(r.Data) != 0 || r.Written != 0 {
		t.Errorf("%d bytes are left of nothing", len(r.Data))
	}
	idempotent := recordtest.Build(t, recordtest.Sequence(7, 1, 5), recordtest.Values("d", "d", "d")...)
	r = rewrite(t, p, fakeTopics{}, Batch{Data: idempotent})
	if b := record.Batch(r.Data); len(b) == 0 || b.Count() != 0 || b.LastOffsetDelta() != 2 || b.LastSequence() != 7 || b.ProducerID() != 7 {
		t.Errorf("an idempotent producer's batch becomes %x", r.Data)
	}
	several := []Batch{{Data: recordtest.Batch(t, "d", "d")}, {Data: recordtest.Batch(t, "k"), First: 2}, {Data: recordtest.Batch(t, "d"), First: 3}}
	r = rewrite(t, p, fakeTopics{}, several...)
	spans := []int32{}
	for b, err := range record.All(r.Data) {
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, b.LastOffsetDelta()+1)
	}
	if !slices.Equal(spans, []int32{2, 1, 1}) || !slices.Equal(r.Dropped, []int{0, 1, 3}) {
		t.Errorf("batches span %v, dropped %v", spans, r.Dropped)
	}
}

// TestRoutesOfARetry: a retry of an idempotent producer's batch chooses the same partitions.
func TestRoutesOfARetry(t *testing.T) {
	p := loadCommands(t, abi.PlaceWrite)
	topics := fakeTopics{wasmtest.CommandTopic: topicOf(wasmtest.CommandTopic, 5)}
	data := recordtest.Build(t, recordtest.Sequence(7, 0, 0), recordtest.Values("x1", "x2")...)
	for range 3 {
		r := rewrite(t, p, topics, Batch{Data: data})
		if len(r.Routed) != 1 || r.Routed[0].Number != (7+2)%5 || !slices.Equal(r.Routed[0].Batches[0].Index, []int{0, 1}) {
			t.Errorf("routed to %+v", r.Routed)
		}
	}
	_, err := NewRewriter(record.NewBudget(admission.Default().Unpack), fakeTopics{}).Rewrite(t.Context(), Unit{
		Pipeline: p, Topic: "orders", Batches: []Batch{{Data: data[:70]}},
	})
	if !errcode.Is(err, errcode.CorruptMessage) {
		t.Errorf("a batch that is cut off: %v", err)
	}
}

// TestReadThrough: a view scans on when little passes, ends at its limit, and cannot route.
func TestReadThrough(t *testing.T) {
	p := loadCommands(t, abi.PlaceView)
	budget := record.NewBudget(admission.Default().Unpack)
	var batches []byte
	for i, values := range [][]string{{"d", "d"}, {"k1", "d"}, {"x"}, {"k2"}, {"k3"}} {
		b := recordtest.Batch(t, values...)
		b.SetBaseOffset(int64(10 * i))
		batches = append(batches, b...)
	}
	read := Read{Pipeline: p, Name: "seen", Source: "orders/0", Limit: 100}
	out, next, err := read.Through(t.Context(), budget, []byte("before"), batches, 0)
	if err != nil || next != 31 || string(out[:6]) != "before" {
		t.Fatalf("scanned to %d, %v", next, err)
	}
	got := recordtest.Read(t, out[6:])
	if len(got) != 2 || got[0].Offset != 10 || got[1].Offset != 30 {
		t.Errorf("%+v", got)
	}
	read.Limit = 1 << 20
	if _, next, err = read.Through(t.Context(), budget, nil, batches[:len(batches)-1], 5); err == nil || next != 31 || !strings.Contains(err.Error(), "orders/0") {
		t.Errorf("a batch that is cut off: %d, %v", next, err)
	}
	if out, next, err = read.Through(t.Context(), budget, nil, nil, 5); err != nil || next != 5 || len(out) != 0 {
		t.Errorf("nothing: %d, %v", next, err)
	}
}
