package pipeline

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/engine"
)

// counter is an Observer that counts calls.
type counter struct {
	engine.NoObserver
	mu            sync.Mutex
	calls, failed int
	largest       int
	started       int
	outcome       engine.Outcome
}

func (c *counter) Call(_ string, _ time.Duration, _, bytes int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	c.largest = max(c.largest, bytes)
	if err != nil {
		c.failed++
	}
}

func (c *counter) Instances(_ string, delta int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started += max(delta, 0)
}

func (c *counter) Outcome(_ string, o engine.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcome = o
}

func TestBisectionFindsFailingRecordsOnFreshInstances(t *testing.T) {
	calls := &counter{}
	f := newFixture(t, calls)
	p := f.compile(t, abi.PlaceWrite, f.commands(1, abi.OnErrorDrop)...)
	values := make([]string, 64)
	for i := range values {
		values[i] = "k"
	}
	values[17], values[18], values[62] = "t", "b", "o"
	r := mustRun(t, p, input(values...))
	for i, v := range r.Verdicts {
		if failing := i == 17 || i == 18 || i == 62; (v.Kind == Dropped) != failing {
			t.Errorf("record %d is %v", i, v.Kind)
		}
	}
	if calls.started != calls.failed+1 {
		t.Errorf("%d instances for %d failed calls: an instance was used again after a failure", calls.started, calls.failed)
	}
	want := engine.Outcome{In: 64, Kept: 61, Dropped: 3, Failed: 3}
	if calls.outcome != want {
		t.Errorf("outcome %+v, want %+v", calls.outcome, want)
	}
}

func TestBreakerPausesAModuleThatKeepsFailing(t *testing.T) {
	calls := &counter{}
	f := newFixture(t, calls)
	p := f.compile(t, abi.PlaceWrite, f.commands(1, abi.OnErrorSkip)...)
	bad := make([]string, 100)
	for i := range bad {
		bad[i] = "t"
	}
	r := mustRun(t, p, input(bad...))
	if n := calls.failed; n > 60 {
		t.Errorf("%d calls failed before the pause", n)
	}
	if m := r.Verdicts[99].Message; !strings.Contains(m, "is paused until") || !strings.Contains(m, "unreachable") {
		t.Errorf("the last record's message is %q", m)
	}
	if len(r.Own) != 100 {
		t.Errorf("%d records passed, on_error is skip", len(r.Own))
	}
	pauses := func() time.Duration { // how long the stage is paused from now on
		before := calls.calls
		var d time.Duration
		for ; calls.calls == before && d < 5*time.Minute; d += time.Second {
			f.clock.advance(time.Second)
			mustRun(t, p, input("t"))
		}
		return d
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if got := pauses(); got != want*time.Second {
			t.Errorf("paused for %v, want %v", got, want*time.Second)
		}
	}
	f.clock.advance(time.Minute)
	before := calls.calls
	mustRun(t, p, input("k"))
	for range breakerThreshold - 1 {
		mustRun(t, p, input("t"))
	}
	mustRun(t, p, input("k"))
	if got := calls.calls - before; got != breakerThreshold+1 {
		t.Errorf("%d calls after the pause, want %d: one success closes the breaker", got, breakerThreshold+1)
	}
}

func TestBreakerTripsWhenOneBatchHasTooManyFailures(t *testing.T) {
	calls := &counter{}
	f := newFixture(t, calls)
	p := f.compile(t, abi.PlaceWrite, f.commands(1, abi.OnErrorDrop)...)
	values := make([]string, 1000)
	for i := range values {
		values[i] = []string{"k", "t"}[i%2]
	}
	mustRun(t, p, input(values...))
	if calls.failed > 4*maxRunFailed {
		t.Errorf("%d failed calls for one batch", calls.failed)
	}
}
