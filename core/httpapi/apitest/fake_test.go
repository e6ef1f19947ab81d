package apitest

import (
	"testing"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

// The checks of releases must be able to fail: what was released is no batch any more, what was not
// is counted.
func TestFakeNoticesReleases(t *testing.T) {
	m := NewFake()
	batch := func() []byte { return recordtest.Batch(t, "v") }
	raw := batch()
	early := m.lend([]broker.FetchedPartition{{Batches: raw}})
	m.lend([]broker.FetchedPartition{{Batches: batch()}})
	early.Release()
	if record.Batch(raw).Validate(record.DefaultLimits()) == nil {
		t.Error("a batch outlives its release")
	}
	if m.Lent.Load() != 1 || m.Released.Load() != 1 {
		t.Errorf("%d answers are lent, %d released; want 1 and 1", m.Lent.Load(), m.Released.Load())
	}
}
