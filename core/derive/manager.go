package derive

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/transform"
	"github.com/wasmill/wasmill/wasm/abi"
)

// Manager runs the derivations whose source partitions this broker leads. Reconcile and Close are its
// owner's, who calls them one after the other; the other methods are safe for concurrent use.
type Manager struct {
	options Options

	// mu covers the map and, of each derivation in it, the field tasks; only Reconcile and Close write
	// either. It is never held while a pipeline is compiled, a partition is read or a task is waited for, so
	// that who asks for the progress does not wait for those.
	mu      sync.Mutex
	running map[uint64]*derivation // by id
}

// derivation is one version of a derivation under way.
type derivation struct {
	meta       *metadata.Derivation
	pipeline   *transform.Pipeline
	partitions int32           // of the source topic when it was reconciled last
	tasks      []*task         // guarded by Manager.mu; by number
	absent     []SourceAt      // partitions that cannot be followed, as of the last Reconcile; guarded by Manager.mu
	cancel     func()          // ends the tasks
	ctx        context.Context // of the tasks
	wait       sync.WaitGroup  // for the tasks
}

// NewManager makes a manager that runs nothing yet.
func NewManager(o Options) *Manager { return &Manager{options: o, running: map[uint64]*derivation{}} }

// Reconcile starts, replaces and stops derivations so that exactly those of specs run, until ctx ends.
// Where a derivation begins in partitions that it has not seen is settled when the call returns: what is
// produced from then on is derived. It returns false when some pipeline could not be loaded: that
// derivation does nothing until a later call succeeds.
func (m *Manager) Reconcile(ctx context.Context, specs []Spec) (complete bool) {
	complete = true
	wanted := make(map[uint64]bool, len(specs))
	for _, spec := range specs {
		wanted[spec.ID] = true
		d := m.running[spec.ID] // without mu: only this goroutine writes
		if d == nil || d.meta.Version != spec.Version || d.pipeline.Err() != nil {
			d = m.replace(ctx, d, spec)
		}
		if d.pipeline.Err() != nil {
			complete = false
			continue
		}
		m.follow(d, spec)
	}
	for id, d := range m.running {
		if !wanted[id] {
			d.stop()
			m.set(id, nil)
		}
	}
	return complete
}

// replace puts a new version in the place of old, which is nil if the derivation did not run. The new one
// has no tasks yet, but remembers which partitions old has seen. The pipeline is compiled while old still
// runs; old is stopped even if that fails.
func (m *Manager) replace(ctx context.Context, old *derivation, spec Spec) *derivation {
	d := &derivation{meta: spec.Derivation, partitions: -1}
	d.pipeline = m.options.Loader.Load(ctx, transform.Spec{
		Name: spec.Name, Version: spec.Version, Place: abi.PlaceDerivation, Stages: spec.Stages,
	})
	d.ctx, d.cancel = context.WithCancel(ctx)
	if old != nil {
		d.partitions = old.partitions
		old.stop()
	}
	m.set(spec.ID, d)
	return d
}

// follow starts tasks for the partitions of the source that have none.
func (m *Manager) follow(d *derivation, spec Spec) {
	tasks := slices.Clone(d.tasks)
	var absent []SourceAt
	for _, at := range spec.Sources {
		if slices.ContainsFunc(tasks, func(t *task) bool { return t.number == at.Number }) {
			continue
		}
		if at.Err != nil {
			absent = append(absent, at)
			continue
		}
		// A partition that was added to the source is new as a whole, whatever start_from says.
		added := d.partitions >= 0 && at.Number >= d.partitions
		t := m.newTask(d, at, d.meta.StartFrom == metadata.StartLatest && !added)
		tasks = append(tasks, t)
		d.wait.Go(func() { t.run(d.ctx) })
	}
	d.partitions = max(d.partitions, spec.Partitions) // it only grows
	slices.SortFunc(tasks, func(a, b *task) int { return int(a.number - b.number) })
	m.mu.Lock()
	defer m.mu.Unlock()
	d.tasks, d.absent = tasks, absent
}

func (m *Manager) newTask(d *derivation, at SourceAt, latest bool) *task {
	t := &task{
		Options: &m.options, meta: d.meta, pipeline: d.pipeline, number: at.Number, source: at.Source,
		origin: fmt.Sprintf("derivation/%d/%d", d.meta.ID, at.Number),
		logger: m.options.Logger.With("derivation", d.meta.Name, "partition", at.Number),
	}
	t.settle(latest)
	return t
}

// set puts a derivation into the map, or takes it out with nil.
func (m *Manager) set(id uint64, d *derivation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d == nil {
		delete(m.running, id)
		return
	}
	m.running[id] = d
}

// stop ends the tasks and waits for them.
func (d *derivation) stop() {
	d.cancel()
	d.wait.Wait()
	d.pipeline.Release()
}

// Close ends all derivations and waits for them. Idempotent.
func (m *Manager) Close() {
	for _, d := range m.running { // all stop at the same time
		d.cancel()
	}
	for id, d := range m.running {
		d.stop()
		m.set(id, nil)
	}
}

// Progress is how far a derivation has come in each partition of its source; empty when it does not run
// here. err is why its pipeline cannot be loaded.
func (m *Manager) Progress(id uint64) (progress []Progress, err error) {
	m.mu.Lock()
	d := m.running[id]
	var tasks []*task
	var absent []SourceAt
	if d != nil {
		tasks, absent = d.tasks, d.absent // replaced, never changed
	}
	m.mu.Unlock()
	if d == nil {
		return nil, nil
	}
	for _, t := range tasks {
		progress = append(progress, t.progress())
	}
	for _, at := range absent {
		progress = append(progress, Progress{Partition: at.Number, Err: at.Err.Error()})
	}
	slices.SortFunc(progress, func(a, b Progress) int { return int(a.Partition - b.Partition) })
	return progress, d.pipeline.Err()
}
