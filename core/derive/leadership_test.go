package derive

import (
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

// restingTask starts a derivation and returns when it has derived "k0" and saved its position.
func restingTask(t *testing.T) (m *Manager, source, derived *fakePartition) {
	t.Helper()
	c := newCluster(map[string]int{"source": 1, "derived": 1})
	m, _ = manage(t, c)
	source, derived = c.at("source", 0), c.at("derived", 0)
	source.produce(t, recordtest.Values("k0")...)
	m.Reconcile(t.Context(), []Spec{c.spec(1, metadata.StartEarliest, commands)})
	for next := int64(0); next < 1; {
		next, _ = source.savedPosition(origin)
	}
	return m, source, derived
}

// TestNothingIsDerivedWithoutLeadership: a task whose broker does not lead the source any more derives nothing, and
// goes on when it leads it again, from where the other leader came.
func TestNothingIsDerivedWithoutLeadership(t *testing.T) {
	m, source, derived := restingTask(t)
	source.set(func() { source.noAnswer = errcode.New(errcode.NotLeaderOrFollower, "led elsewhere") })
	source.produce(t, recordtest.Values("k1")...)
	for failed := false; !failed; {
		progress, err := m.Progress(7)
		failed = err == nil && progress[0].Err != "" || len(derived.values(t)) > 1
	}
	wantValues(t, "without leadership", derived.values(t), "k0")
	source.set(func() { source.positions[origin] = partition.OffsetPosition(origin, 2) })
	source.set(func() { source.noAnswer = nil })
	source.produce(t, recordtest.Values("k2")...)
	wantValues(t, "derived", derived.await(t, 2), "k0", "k2")
}

// TestOtherLeaderMeanwhile: leadership was lost and won again without the task's notice.
func TestOtherLeaderMeanwhile(t *testing.T) {
	_, source, derived := restingTask(t)
	source.set(func() { source.positions[origin] = partition.OffsetPosition(origin, 2) })
	source.produce(t, recordtest.Values("k1")...)
	source.produce(t, recordtest.Values("k2")...)
	wantValues(t, "derived", derived.await(t, 2), "k0", "k2")
}
