package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/engine"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// shelf is a ModuleSource in memory.
type shelf map[string][]byte

func (s shelf) Get(_ context.Context, hash string) ([]byte, error) {
	if wasm, ok := s[hash]; ok {
		return wasm, nil
	}
	return nil, fmt.Errorf("no module %s", hash)
}

func (s shelf) put(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	hash := hex.EncodeToString(sum[:])
	s[hash] = wasm
	return hash
}

type fixture struct {
	engine *engine.Engine
	shelf  shelf
	clock  *clock
}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newFixture(t testing.TB, observer engine.Observer) *fixture {
	t.Helper()
	e, err := engine.New(engine.Options{Observer: observer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &fixture{engine: e, shelf: shelf{}, clock: &clock{now: time.Unix(1_700_000_000, 0)}}
}

// commands makes n stages that obey byte 0, 1, ... of each value.
func (f *fixture) commands(n int, policy abi.OnError) []StageSpec {
	stages := make([]StageSpec, n)
	for i := range stages {
		stages[i] = StageSpec{Module: fmt.Sprintf("stage%d", i), Version: 1, Hash: f.shelf.put(wasmtest.Commands(i)), OnError: policy}
		if policy == abi.OnErrorDeadLetter {
			stages[i].DeadLetterTopic = "dead"
		}
	}
	return stages
}

func (f *fixture) compile(t testing.TB, place abi.Place, stages ...StageSpec) *Pipeline {
	t.Helper()
	p, err := Compile(context.Background(), f.engine, f.shelf, Spec{Name: "test", Version: 3, Place: place, Stages: stages, Now: f.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func input(values ...string) Input {
	in := Input{Topic: "t", BaseOffset: -1}
	for i, v := range values {
		in.Records = append(in.Records, record.Record{OffsetDelta: int32(i), Timestamp: 5, Key: []byte("k"), Value: []byte(v)})
	}
	return in
}

func mustRun(t testing.TB, p *Pipeline, in Input) *Result {
	t.Helper()
	out := &Result{}
	if err := p.Run(context.Background(), in, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// show writes a result in one line: verdicts, own records and routed ones as source:value.
func show(r *Result) string {
	var s strings.Builder
	for _, v := range r.Verdicts {
		s.WriteString(v.Kind.String()[:2] + " ")
	}
	s.WriteString("|")
	for _, e := range r.Own {
		extra := ""
		if e.Extra {
			extra = "+"
		}
		fmt.Fprintf(&s, " %d%s:%s", e.Source, extra, e.Value)
	}
	s.WriteString(" |")
	for _, e := range r.Routed {
		fmt.Fprintf(&s, " %d:%s>%s/%d", e.Source, e.Value, e.Topic, e.Partition)
	}
	return s.String()
}
