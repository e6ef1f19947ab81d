package crash

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/wasmill/wasmill/tests/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, os.Stderr)) //nolint:forbidigo // this is the test binary's main
}

// Variables that make the loop long, or repeat one.
const (
	roundsVariable = "WASMILL_CRASH_ROUNDS"
	seedVariable   = "WASMILL_CRASH_SEED"
)

// setting reads a number from a variable.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q, not a number", name, text)
	}
	return n
}

// Producers of both kinds, a pipeline that drops, routes and copies, and a derivation are at work when the
// broker is killed, over and over, also while it starts. After each restart everything is checked.
func TestKillLoop(t *testing.T) {
	t.Parallel()
	seed := setting(t, seedVariable, rand.Uint64())
	rounds := setting(t, roundsVariable, 6)
	t.Logf("seed: %s=%d", seedVariable, seed)
	w := newWorld(t, seed)
	for round := range rounds {
		w.load(5*time.Second, func() {
			w.wait(300 * time.Millisecond)
			w.broker.Kill(t)
		})
		for w.rng.IntN(3) == 0 {
			w.broker = w.broker.Relaunch(t)
			w.wait(60 * time.Millisecond)
			w.broker.Kill(t)
		}
		w.broker = w.broker.Restart(t)
		w.verify("round " + strconv.FormatUint(round, 10))
	}
	tried, acked := w.history.Size()
	t.Logf("%d kills at least, %d records sent, %d acknowledged", rounds, tried, acked)
	if acked == 0 {
		t.Error("nothing was acknowledged: the test tests nothing")
	}
	w.broker.Stop(t)
	w.broker = w.broker.Restart(t)
	w.verify("after an orderly stop")
}

// A broker that is paused for longer than its clients wait is asked again while their first requests
// are still there. When it goes on, each batch is written once.
func TestPauseLoop(t *testing.T) {
	t.Parallel()
	seed := setting(t, seedVariable, rand.Uint64())
	rounds := setting(t, roundsVariable, 3)
	t.Logf("seed: %s=%d", seedVariable, seed)
	w := newWorld(t, seed)
	for round := range rounds {
		w.load(200*time.Millisecond, func() {
			w.wait(100 * time.Millisecond)
			w.broker.Pause(t)
			<-time.After(300 * time.Millisecond)
			w.broker.Resume(t)
			w.wait(400 * time.Millisecond)
		})
		w.settle()
		w.verify("round " + strconv.FormatUint(round, 10))
		if w.rng.IntN(2) == 0 {
			w.broker.Pause(t)
			w.broker.Kill(t)
			w.broker = w.broker.Restart(t)
		}
	}
	w.load(5*time.Second, func() { w.wait(100 * time.Millisecond) })
	w.verify("in the end")
}
