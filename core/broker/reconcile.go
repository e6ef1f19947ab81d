package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/wasmill/wasmill/core/derive"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/transform"
	"github.com/wasmill/wasmill/wasm/abi"
)

// reconciler makes the broker serve what the metadata says: it opens and removes partitions, loads pipelines
// and starts and stops derivations. What it does at a time is a pass: it covers what has changed since the
// last one, and what the last one could not do.
//
// All passes are made by one goroutine, run, one after the other (the first by Open, before it). So nothing
// that a pass does is under a lock, however long partitions take to open, pipelines to compile and derivations
// to stop: requests read the catalog, and those who change the metadata wait on a channel as long as their
// context lasts.
type reconciler struct {
	meta        watched
	catalog     *catalog
	opener      *opener
	loader      *transform.Loader
	derivations *derive.Manager
	logger      *slog.Logger
	lifetime    context.Context // of the broker: derivations run as long

	requests chan chan failures // run answers each with the outcome of a pass that began after it
	ended    chan struct{}      // closed when run has returned

	// Of the goroutine that makes passes, alone:
	applied      *metadata.Image  // what the last pass was made with
	unreconciled metadata.Changes // what it could not do
	leaving      []*topicState    // deleted topics whose files could not be removed
}

// newReconciler completes a reconciler that has applied nothing yet.
func newReconciler(r reconciler) *reconciler {
	r.requests, r.ended = make(chan chan failures), make(chan struct{})
	r.applied = metadata.NewImage()
	return &r
}

// watched is the metadata as the reconciler sees it.
type watched interface {
	// Image is the newest.
	Image() *metadata.Image
	// WaitChange waits for an image that differs from since in something that is served.
	WaitChange(ctx context.Context, since *metadata.Image) (*metadata.Image, metadata.Changes, error)
}

// failures are the topics that a pass could not bring to what the metadata says, with why.
type failures map[string]error

// joined is all failures in one error, nil when there are none.
func (f failures) joined() error {
	var errs []error
	for name, err := range f {
		errs = append(errs, fmt.Errorf("topic %q: %w", name, err))
	}
	return errors.Join(errs...)
}

// run makes passes until the lifetime ends.
func (r *reconciler) run() {
	defer close(r.ended)
	for {
		select {
		case <-r.lifetime.Done():
			return
		case first := <-r.requests:
			waiting := append([]chan failures{first}, r.queued()...)
			outcome := r.pass(r.lifetime)
			for _, w := range waiting {
				w <- outcome
			}
		}
	}
}

// queued takes the requests that wait meanwhile, so that one pass answers them all.
func (r *reconciler) queued() (waiting []chan failures) {
	for {
		select {
		case w := <-r.requests:
			waiting = append(waiting, w)
		default:
			return waiting
		}
	}
}

// reconcile waits for a pass over the metadata as it is now, or newer. The error is that ctx or the broker
// ended before; the pass is made, or was, all the same.
func (r *reconciler) reconcile(ctx context.Context) (failures, error) {
	done := make(chan failures, 1)
	select {
	case r.requests <- done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.ended:
		return nil, context.Canceled
	}
	select {
	case outcome := <-done:
		return outcome, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// retry tries again what the metadata says and could not be done: there may be space now, or a file that was
// damaged may have been put back. The pass logs what fails; an error is the broker's end.
func (r *reconciler) retry() { _, _ = r.reconcile(r.lifetime) }

// watchMetadata follows every change of the metadata, whoever made it, until the lifetime ends.
func (r *reconciler) watchMetadata() {
	image := r.meta.Image()
	for {
		next, _, err := r.meta.WaitChange(r.lifetime, image)
		if err != nil {
			return
		}
		image = next
		r.retry()
	}
}

// pass brings the broker to the newest image, as far as that succeeds. What is new or changed in a topic shows
// at once; new topics, and what is gone, with the new table: so a topic never takes records without its
// pipeline.
func (r *reconciler) pass(ctx context.Context) failures {
	image := r.meta.Image()
	todo := merge(metadata.Diff(r.applied, image), r.unreconciled)
	r.applied, r.unreconciled = image, metadata.Changes{}
	failed := failures{}
	if todo.Empty() && len(r.leaving) == 0 {
		return failed
	}
	old := r.catalog.table()
	next := old.clone()
	for _, name := range todo.Topics {
		if err := r.topic(ctx, next, name, image); err != nil {
			failed[name] = err
		}
	}
	for _, name := range todo.Pipelines {
		r.pipeline(ctx, next, name, image)
	}
	for _, name := range todo.Views {
		r.view(ctx, next, name, image)
	}
	r.catalog.newest.Store(next)
	r.releaseViews(old, next)
	r.derive(todo, image) // before topics go: derivations from and into them end first
	r.remove(ctx, failed)
	r.report(ctx, failed)
	return failed
}

// topic takes over a topic's configuration and opens the partitions that it lacks.
func (r *reconciler) topic(ctx context.Context, next *table, name string, image *metadata.Image) error {
	m, t := image.Topic(name), next.topics[name]
	if t != nil && (m == nil || m.ID != t.id) {
		r.leaving = append(r.leaving, t.now())
		delete(next.topics, name)
		t = nil
	}
	if m == nil {
		return nil
	}
	config, err := metadata.ParseTopicConfig(m.Config)
	if err != nil {
		return err
	}
	if t == nil {
		t = newTopic(m)
		next.topics[name] = t
	}
	s := &topicState{topic: t, meta: m, config: config, places: make([]place, m.Partitions)}
	var errs []error
	if old := t.now(); old != nil {
		copy(s.places, old.places)
		for _, p := range s.replicas {
			errs = append(errs, p.Reconfigure(partitionConfig(config)))
		}
	}
	errs = append(errs, r.opener.openMissing(ctx, t, config, s.places))
	t.state.Store(s)
	return errors.Join(errs...)
}

// pipeline switches a topic's write pipeline in one step. One that cannot be loaded is put in force with its
// error: writes are refused until it can, never let through unchecked.
func (r *reconciler) pipeline(ctx context.Context, next *table, name string, image *metadata.Image) {
	t, m := next.topics[name], image.Pipeline(name)
	switch {
	case t == nil && m == nil: // both are gone
	case t == nil: // the topic could not be served yet
		r.unreconciled.Pipelines = append(r.unreconciled.Pipelines, name)
	case m == nil:
		t.write.Clear()
	case !current(t.write.Current(), m.Version):
		p := r.load(ctx, name, m.Version, abi.PlaceWrite, m.Stages)
		if p.Err() != nil {
			r.unreconciled.Pipelines = append(r.unreconciled.Pipelines, name)
		}
		t.write.Replace(p)
	}
}

// current reports whether p is a version of a pipeline and can be run.
func current(p *transform.Pipeline, version uint64) bool {
	return p != nil && p.Version() == version && p.Err() == nil
}

// view makes a view anew.
func (r *reconciler) view(ctx context.Context, next *table, name string, image *metadata.Image) {
	m, old := image.View(name), next.views[name]
	if m == nil {
		delete(next.views, name)
		return
	}
	source := next.topics[m.Topic]
	if source == nil { // the topic could not be served yet
		r.unreconciled.Views = append(r.unreconciled.Views, name)
		return
	}
	if old != nil && old.source == source && current(old.read, m.Version) {
		return
	}
	v := &view{meta: m, source: source, read: r.load(ctx, name, m.Version, abi.PlaceView, m.Stages)}
	if v.read.Err() != nil {
		r.unreconciled.Views = append(r.unreconciled.Views, name)
	}
	next.views[name] = v
}

func (r *reconciler) load(ctx context.Context, name string, version uint64, place abi.Place, stages []metadata.Stage) *transform.Pipeline {
	return r.loader.Load(ctx, transform.Spec{Name: name, Version: version, Place: place, Stages: stages})
}

// releaseViews gives up the pipelines of views that the new table does not have. Who fetches through one
// finds out, and takes the new one.
func (r *reconciler) releaseViews(old, next *table) {
	for name, v := range old.views {
		if next.views[name] != v {
			v.read.Release()
		}
	}
}

// derive starts, replaces and stops derivations if any of them, or any of their sources, has changed.
func (r *reconciler) derive(todo metadata.Changes, image *metadata.Image) {
	all := image.Derivations()
	concerned := len(todo.Derivations) > 0 || slices.ContainsFunc(all, func(m *metadata.Derivation) bool {
		return slices.Contains(todo.Topics, m.Topic)
	})
	if !concerned {
		return
	}
	specs := make([]derive.Spec, 0, len(all))
	for _, m := range all {
		specs = append(specs, r.derivation(m))
	}
	if !r.derivations.Reconcile(r.lifetime, specs) {
		for _, m := range all { // the manager finds out which ones do not run
			r.unreconciled.Derivations = append(r.unreconciled.Derivations, m.Name)
		}
	}
}

// derivation is a derivation with the partitions of its source that are here.
func (r *reconciler) derivation(m *metadata.Derivation) derive.Spec {
	spec := derive.Spec{Derivation: m}
	t := r.catalog.table().topics[m.Topic]
	if t == nil {
		return spec
	}
	s := t.now()
	spec.Partitions = s.meta.Partitions
	for i := range s.places {
		if s.places[i].leader != nil {
			continue // its leader derives from it
		}
		at := derive.SourceAt{Number: int32(i)}
		if p, err := s.places[i].toRead(); err != nil {
			at.Err = err
		} else {
			at.Source = p
		}
		spec.Sources = append(spec.Sources, at)
	}
	return spec
}

// remove deletes what is left of topics that are gone, and tries again where that failed before. Who deleted a
// topic learns that its files are not gone yet; who has made another of that name since is not concerned.
func (r *reconciler) remove(ctx context.Context, failed failures) {
	r.leaving = slices.DeleteFunc(r.leaving, func(s *topicState) bool {
		err := r.opener.remove(s)
		switch {
		case err == nil:
			return true
		case r.catalog.table().topics[s.name] == nil:
			failed[s.name] = err
		case ctx.Err() == nil:
			r.logger.Error("the files of a deleted topic are not removed; retrying", "topic", s.name, "id", s.id, "error", err)
		}
		return false
	})
}

// merge is what is in one of the two, or in both.
func merge(a, b metadata.Changes) metadata.Changes {
	union := func(a, b []string) []string {
		all := slices.Concat(a, b)
		slices.Sort(all)
		return slices.Compact(all)
	}
	return metadata.Changes{
		Cluster: a.Cluster || b.Cluster, Topics: union(a.Topics, b.Topics), Modules: union(a.Modules, b.Modules),
		Pipelines: union(a.Pipelines, b.Pipelines), Views: union(a.Views, b.Views),
		Derivations: union(a.Derivations, b.Derivations),
	}
}

// report logs what failed, and notes what the next pass tries again.
func (r *reconciler) report(ctx context.Context, failed failures) {
	for name, err := range failed {
		r.unreconciled.Topics = append(r.unreconciled.Topics, name)
		if ctx.Err() == nil {
			r.logger.Error("a topic is not yet served as the metadata says; retrying", "topic", name, "error", err)
		}
	}
}
