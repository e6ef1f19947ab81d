package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/engine"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneStage(t *testing.T) {
	f := newFixture(t, nil)
	p := f.compile(t, abi.PlaceWrite, f.commands(1, abi.OnErrorReject)...)
	for _, c := range []struct {
		values, want          string
		unchanged, onlyFilter bool
	}{
		{"k k", "ke ke | 0:k 1:k |", true, true},
		{"k d k", "ke dr ke | 0:k 2:k |", false, true},
		{"d d", "dr dr | |", false, true},
		{"k ex", "ke ch | 0:k 1:e |", false, false},
		{"f k", "ch ke | 0:f 0+:f 0+:f 1:k |", false, false},
		{"F", "ch | 0:F 0+:F |", false, false},
		{"x k", "ro ke | 1:k | 0:x>other/-1", false, true},
		{"c k", "ke ke | 0:c 1:k | 0:c>other/2", true, true},
		{"k r k", "ke re ke | 0:k 2:k |", false, true},
		{"k t k", "ke re ke | 0:k 2:k |", false, true},
		{"b o t k", "re re re ke | 3:k |", false, true},
	} {
		r := mustRun(t, p, input(strings.Fields(c.values)...))
		if got := show(r); got != c.want || r.Unchanged() != c.unchanged || r.OnlyFiltered() != c.onlyFilter {
			t.Errorf("%s: got %q, unchanged %v, filtered %v; want %q, %v, %v", c.values, got, r.Unchanged(), r.OnlyFiltered(), c.want, c.unchanged, c.onlyFilter)
		}
	}
}

func TestVerdictTellsWhy(t *testing.T) {
	f := newFixture(t, nil)
	p := f.compile(t, abi.PlaceWrite, f.commands(2, abi.OnErrorReject)...)
	r := mustRun(t, p, input("kk", "kr", "t", "kb", "d"))
	want := []Verdict{
		{Kind: Kept, Stage: -1},
		{Kind: Rejected, Code: wasmtest.CommandCode, Message: wasmtest.CommandMessage, Stage: 1},
		{Kind: Rejected, Message: "unreachable", Stage: 0},
		{Kind: Rejected, Message: wasmtest.FailureMessage, Stage: 1},
		{Kind: Dropped, Stage: 0},
	}
	for i := range want {
		if r.Verdicts[i] != want[i] {
			t.Errorf("record %d: got %+v, want %+v", i, r.Verdicts[i], want[i])
		}
	}
	if p.StageName(1) != "stage1@1" || p.StageName(2) != "" || p.Version() != 3 {
		t.Errorf("StageName(1) = %q, StageName(2) = %q, Version = %d", p.StageName(1), p.StageName(2), p.Version())
	}
}

func TestPolicies(t *testing.T) {
	f := newFixture(t, nil)
	for _, c := range []struct {
		policy abi.OnError
		place  abi.Place
		want   string // of: keep, trap, reject
	}{
		{abi.OnErrorReject, abi.PlaceWrite, "ke re re | 0:k |"},
		{"", abi.PlaceWrite, "ke re re | 0:k |"},
		{abi.OnErrorSkip, abi.PlaceWrite, "ke ke re | 0:k 1:t |"},
		{abi.OnErrorDrop, abi.PlaceWrite, "ke dr re | 0:k |"},
		{abi.OnErrorDeadLetter, abi.PlaceWrite, "ke ro ro | 0:k | 1:t>dead/-1 2:r>dead/-1"},
		{"", abi.PlaceView, "ke dr dr | 0:k |"},
		{abi.OnErrorDrop, abi.PlaceView, "ke dr dr | 0:k |"},
		{abi.OnErrorSkip, abi.PlaceView, "ke ke dr | 0:k 1:t |"},
		{"", abi.PlaceDerivation, "ke dr dr | 0:k |"},
		{abi.OnErrorSkip, abi.PlaceDerivation, "ke ke dr | 0:k 1:t |"},
		{abi.OnErrorDeadLetter, abi.PlaceDerivation, "ke ro ro | 0:k | 1:t>dead/-1 2:r>dead/-1"},
	} {
		p := f.compile(t, c.place, f.commands(1, c.policy)...)
		if got := show(mustRun(t, p, input("k", "t", "r"))); got != c.want {
			t.Errorf("%q in a %v: got %q, want %q", c.policy, c.place, got, c.want)
		}
	}
}

func TestDeadLetterHeaders(t *testing.T) {
	f := newFixture(t, nil)
	p := f.compile(t, abi.PlaceDerivation, f.commands(2, abi.OnErrorDeadLetter)...)
	in := input("k", "er?", "et?")
	in.Partition, in.BaseOffset = 4, 100
	in.Records[1].Headers = []record.RecordHeader{{Key: []byte("own"), Value: []byte("1")}}
	r := mustRun(t, p, in)
	if got, want := show(r), "ke ro ro | 0:k | 1:er>dead/-1 2:et>dead/-1"; got != want {
		t.Fatalf("got %q, want %q (as the failing stage saw it)", got, want)
	}
	want := "own=1 wasmill.error.code=7 wasmill.error.message=not wanted wasmill.stage=1 wasmill.module=stage1@1 wasmill.topic=t wasmill.partition=4 wasmill.offset=101"
	if got := headers(r.Routed[0].Headers); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := headers(r.Routed[1].Headers); !strings.Contains(got, "code=0 wasmill.error.message=unreachable") || !strings.Contains(got, "offset=102") {
		t.Errorf("got %s", got)
	}
}

func headers(hs []record.RecordHeader) string {
	var list []string
	for _, h := range hs {
		list = append(list, fmt.Sprintf("%s=%s", h.Key, h.Value))
	}
	return strings.Join(list, " ")
}

func TestFanOutThenReject(t *testing.T) {
	f := newFixture(t, nil)
	stages := f.commands(2, abi.OnErrorReject)
	// The second stage is asked by the last byte that the first one leaves: "ed" becomes "e", so it sees
	// nothing there; "fr" becomes three records that it rejects; "cr" is routed and then rejected.
	p := f.compile(t, abi.PlaceWrite, stages...)
	got := show(mustRun(t, p, input("fk", "fr", "cr", "ck", "kk")))
	if want := "ch re re ke ke | 0:fk 0+:fk 0+:fk 3:ck 4:kk | 3:ck>other/2"; got != want {
		t.Errorf("got %q, want %q: nothing of a rejected source may be written", got, want)
	}
	view := f.compile(t, abi.PlaceView, f.commands(2, "")...)
	if got, want := show(mustRun(t, view, input("fr", "fk"))), "dr ch | 1:fk 1+:fk 1+:fk |"; got != want {
		t.Errorf("view: got %q, want %q", got, want)
	}
}

func TestOffsets(t *testing.T) {
	f := newFixture(t, nil)
	p := f.compile(t, abi.PlaceView, f.commands(2, "")...)
	in := input("kk", "dk", "Fd", "Fk", "kF")
	for i := range in.Records {
		in.Records[i].OffsetDelta = int32(2 * i) // a filtered batch
	}
	r := mustRun(t, p, in)
	for _, e := range r.Own {
		if !e.Extra && e.OffsetDelta != in.Records[e.Source].OffsetDelta {
			t.Errorf("first record of source %d has offset delta %d", e.Source, e.OffsetDelta)
		}
		if e.Extra && e.OffsetDelta != -1 {
			t.Errorf("extra record of source %d has offset delta %d", e.Source, e.OffsetDelta)
		}
	}
	if got, want := show(r), "ke dr dr ch ch | 0:kk 3:Fk 3+:Fk 4:kF 4+:kF |"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestResolve(t *testing.T) {
	f := newFixture(t, nil)
	p := f.compile(t, abi.PlaceWrite, f.commands(1, abi.OnErrorReject)...)
	in := input("k", "x", "c")
	in.Resolve = func(topic string, partition int32) error {
		if partition == 2 {
			return nil
		}
		return fmt.Errorf("topic %s is not there", topic)
	}
	r := mustRun(t, p, in)
	if got, want := show(r), "ke re ke | 0:k 2:c | 2:c>other/2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if m := r.Verdicts[1].Message; m != "topic other is not there" {
		t.Errorf("message is %q", m)
	}
	dead := f.compile(t, abi.PlaceWrite, f.commands(1, abi.OnErrorDeadLetter)...)
	if got, want := show(mustRun(t, dead, in)), "ke re ke | 0:k 2:c | 2:c>other/2"; got != want {
		t.Errorf("without a dead-letter topic: got %q, want %q", got, want)
	}
}

func TestCallsAreSplitBySize(t *testing.T) {
	calls := &counter{}
	f := newFixture(t, calls)
	p := f.compile(t, abi.PlaceWrite, f.commands(1, abi.OnErrorReject)...)
	var values []string
	for range 40 {
		values = append(values, "k"+strings.Repeat("x", 100<<10))
	}
	values = append(values, "k"+strings.Repeat("x", 1<<20)) // larger than a call on its own
	r := mustRun(t, p, input(values...))
	if !r.Unchanged() {
		t.Error("the records are not the same")
	}
	if want := 8 + 1; calls.calls != want || calls.largest > 2<<20 {
		t.Errorf("%d calls of at most %d bytes, want %d", calls.calls, calls.largest, want)
	}
}

func TestCompileErrors(t *testing.T) {
	f := newFixture(t, nil)
	good := f.commands(1, abi.OnErrorReject)[0]
	with := func(change func(s *StageSpec)) []StageSpec {
		s := good
		change(&s)
		return []StageSpec{good, s}
	}
	refusing := f.shelf.put(wasmtest.With(wasmtest.Parts{Init: func(c *wasmtest.Code) { c.I32(5) }}))
	f.shelf["00"] = wasmtest.Identity()
	for name, c := range map[string]struct {
		place  abi.Place
		stages []StageSpec
		want   string
	}{
		"no stages":         {abi.PlaceWrite, nil, "no stages"},
		"unknown module":    {abi.PlaceWrite, with(func(s *StageSpec) { s.Hash = "ff" }), "stage 1 (stage0@1): no module ff"},
		"wrong bytes":       {abi.PlaceWrite, with(func(s *StageSpec) { s.Hash = "00" }), "expected was 00"},
		"unknown policy":    {abi.PlaceWrite, with(func(s *StageSpec) { s.OnError = "retry" }), `on_error "retry" is not possible in a write pipeline`},
		"no dead letters":   {abi.PlaceWrite, with(func(s *StageSpec) { s.OnError = abi.OnErrorDeadLetter }), "no dead_letter_topic is named"},
		"bad dead letters":  {abi.PlaceWrite, with(func(s *StageSpec) { s.OnError, s.DeadLetterTopic = abi.OnErrorDeadLetter, "a/b" }), `dead-letter topic "a/b": it contains`},
		"stray topic":       {abi.PlaceWrite, with(func(s *StageSpec) { s.DeadLetterTopic = "dead" }), "on_error is reject, not dead_letter"},
		"view that writes":  {abi.PlaceView, with(func(s *StageSpec) { s.OnError, s.DeadLetterTopic = abi.OnErrorDeadLetter, "dead" }), "is not possible in a view pipeline"},
		"view that rejects": {abi.PlaceView, []StageSpec{good}, "is not possible in a view pipeline"},
		"refused config":    {abi.PlaceWrite, with(func(s *StageSpec) { s.Hash = refusing }), "refused its configuration with code 5"},
		"config no JSON":    {abi.PlaceWrite, with(func(s *StageSpec) { s.Config = []byte("{") }), "must be a JSON object"},
		"config no object":  {abi.PlaceWrite, with(func(s *StageSpec) { s.Config = []byte("[1]") }), "must be a JSON object"},
		"too much memory":   {abi.PlaceWrite, with(func(s *StageSpec) { s.MemoryBytes = 1 << 40 }), "memory limit"},
	} {
		_, err := Compile(t.Context(), f.engine, f.shelf, Spec{Name: "p", Place: c.place, Stages: c.stages})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
}

func TestRunEnds(t *testing.T) {
	f := newFixture(t, nil)
	p := f.compile(t, abi.PlaceWrite, f.commands(1, abi.OnErrorSkip)...)
	if r := mustRun(t, p, Input{Topic: "t"}); len(r.Verdicts) != 0 || !r.Unchanged() {
		t.Error("a batch without records")
	}
	p.Close()
	p.Close()
	if err := p.Run(t.Context(), input("k"), &Result{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	q := f.compile(t, abi.PlaceWrite, f.commands(1, abi.OnErrorSkip)...)
	if err := f.engine.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q.Run(t.Context(), input("k"), &Result{}); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Run after the engine's Close: %v, want ErrClosed and no policy", err)
	}
}

// A run in many goroutines and with one result after the other gives what a single one gives.
func TestConcurrentRuns(t *testing.T) {
	f := newFixture(t, nil)
	p := f.compile(t, abi.PlaceWrite, f.commands(2, abi.OnErrorDrop)...)
	in := input("kk", "ed", "fk", "t", "xk", "kc", "kF", "rk", "k")
	want := show(mustRun(t, p, in))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			out := &Result{}
			for range 25 {
				if err := p.Run(context.Background(), in, out); err != nil {
					t.Error(err)
				} else if got := show(out); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
	wg.Wait()
}

// A pipeline that is replaced under load finishes what it began and refuses the rest; its successor shares
// the instances.
func TestCloseUnderLoad(t *testing.T) {
	f := newFixture(t, nil)
	stages := f.commands(2, abi.OnErrorReject)
	old := f.compile(t, abi.PlaceWrite, stages...)
	successor := f.compile(t, abi.PlaceWrite, stages...)
	in := input("kk", "kd", "ek")
	want := show(mustRun(t, old, in))
	started := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			out := &Result{}
			for n := 0; ; n++ {
				err := old.Run(context.Background(), in, out)
				if n == 0 {
					started <- struct{}{}
				}
				if errors.Is(err, ErrClosed) {
					return
				}
				if got := show(out); err != nil || got != want {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	old.Close()
	wg.Wait()
	if got := show(mustRun(t, successor, in)); got != want {
		t.Errorf("the successor: got %q", got)
	}
}
