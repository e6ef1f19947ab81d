package derive

import (
	"errors"
	"testing"

	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

const origin = "derivation/7/0" // of the task on source/0

// failFirstAttempt runs a derivation from latest whose source cannot be asked for the saved position, until
// its first attempt has failed; from then on the source answers.
func failFirstAttempt(t *testing.T, c *cluster, m *Manager) {
	t.Helper()
	source := c.at("source", 0)
	source.set(func() { source.fail = errors.New("not the leader just now") })
	m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartLatest, commands)})
	for {
		if p, _ := m.Progress(7); len(p) == 1 && p[0].Err != "" {
			break
		}
	}
	source.set(func() { source.fail = nil })
}

func (p *fakePartition) savedPosition(origin string) (next int64, ok bool) {
	p.set(func() {
		var saved partition.Position
		saved, ok = p.positions[origin]
		next = saved.Next
	})
	return next, ok
}

// TestEndKeepsTheSavedPosition: a task that ends before it has read its saved position leaves it as it is.
func TestEndKeepsTheSavedPosition(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	m, _ := manage(t, c)
	source := c.at("source", 0)
	source.produce(t, record.Record{Value: []byte("keep a")}, record.Record{Value: []byte("keep b")}, record.Record{Value: []byte("keep c")})
	source.set(func() { source.positions[origin] = partition.OffsetPosition(origin, 1) })
	failFirstAttempt(t, c, m)
	m.Close()
	if next, _ := source.savedPosition(origin); next != 1 {
		t.Fatalf("the saved position is %d, it was 1: what is between is never derived", next)
	}
}

// TestEndAtOnce ends derivations while they begin.
func TestEndAtOnce(t *testing.T) {
	for range 100 {
		c := newCluster(map[string]int{"source": 1, "derived": 1})
		m, _ := manage(t, c)
		source := c.at("source", 0)
		source.produce(t, record.Record{Value: []byte("drop a")}, record.Record{Value: []byte("keep b")})
		source.set(func() { source.positions[origin] = partition.OffsetPosition(origin, 1) })
		m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartLatest, commands)})
		m.Close()
		next, _ := source.savedPosition(origin)
		if derived := len(c.at("derived", 0).values(t)); int64(derived) != next-1 {
			t.Fatalf("the saved position is %d, and %d records were derived", next, derived)
		}
	}
}

// TestLatestIsDecidedOnce: a derivation that is replaced before its first attempt has succeeded still begins
// where "latest" was when it was made, in an empty source too.
func TestLatestIsDecidedOnce(t *testing.T) {
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	m, _ := manage(t, c)
	source := c.at("source", 0)
	failFirstAttempt(t, c, m)
	source.produce(t, record.Record{Value: []byte("keep a")})
	m.Reconcile(t.Context(), []Spec{c.spec(2, metadata.StartLatest, commands, commands)})
	c.at("derived", 0).await(t, 1)
	m.Close()
}

// TestBeginIsSavedFirst: where a derivation from the latest record begins is durable before it reads anything,
// in an empty source too. A broker that is killed then goes on from there, not from what is latest after it.
func TestBeginIsSavedFirst(t *testing.T) {
	for _, before := range [][]string{nil, {"k before"}} {
		c := newCluster(map[string]int{"source": 1, "derived": 1})
		killed, _ := manage(t, c)
		source := c.at("source", 0)
		if len(before) > 0 {
			source.produce(t, recordtest.Values(before...)...)
		}
		leave := make(chan struct{})
		source.set(func() { source.hold = leave })
		killed.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartLatest, commands)})
		<-source.held // it is about to read, and never does anything more
		if next, ok := source.savedPosition(origin); !ok || next != int64(len(before)) {
			t.Errorf("after %d records the saved position is %d, %v", len(before), next, ok)
		}
		source.set(func() { source.hold = nil })
		source.produce(t, recordtest.Values("k while it was down")...)
		again, _ := manage(t, c)
		again.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartLatest, commands)})
		source.produce(t, recordtest.Values("k after")...)
		for derived := false; !derived; {
			progress, err := again.Progress(7)
			derived = err == nil && progress[0].NextOffset == int64(len(before))+2
		}
		wantValues(t, "derived", c.at("derived", 0).values(t), "k while it was down", "k after")
		close(leave) // its attempt finds everything there
	}
}
