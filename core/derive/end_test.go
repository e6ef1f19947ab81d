package derive

import (
	"errors"
	"testing"

	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
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
