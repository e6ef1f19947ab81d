// Package transform takes record batches through pipelines: it loads pipelines, sorts records into the
// partitions of a topic, runs batches through the stages and builds what comes of them. Where batches come
// from and how they are written is the callers' business: the broker's produce and fetch, and derivations.
package transform

import (
	"context"
	"sync/atomic"

	"github.com/wasmill/wasmill/wasm/pipeline"
)

// Pipeline is one version of a pipeline, compiled. Requests hold it while they use it, so that a request
// sees one version whole, and a replaced version is closed when its last request is done. A nil Pipeline
// stands for none and takes every call.
type Pipeline struct {
	version uint64
	run     *pipeline.Pipeline
	err     error        // it could not be loaded: writes are refused rather than let through unchecked
	refs    atomic.Int64 // 1 for its owner, 1 for every request
}

// newPipeline is a pipeline that its owner holds. run is nil when err says why there is none.
func newPipeline(version uint64, run *pipeline.Pipeline, err error) *Pipeline {
	p := &Pipeline{version: version, run: run, err: err}
	p.refs.Store(1)
	return p
}

// Acquire holds the pipeline until Release. It returns false when the pipeline was replaced and closed:
// then whoever owned it has a newer one, or none.
func (p *Pipeline) Acquire() bool {
	for {
		n := p.refs.Load()
		if n == 0 {
			return false
		}
		if p.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release undoes an Acquire, or gives up the owner's hold. The last one closes the pipeline.
func (p *Pipeline) Release() {
	if p != nil && p.refs.Add(-1) == 0 && p.run != nil {
		p.run.Close()
	}
}

// Err is why the pipeline could not be loaded; nil when it can be run.
func (p *Pipeline) Err() error {
	if p == nil {
		return nil
	}
	return p.err
}

// Version is the metadata's version of the pipeline; 0 for none.
func (p *Pipeline) Version() uint64 {
	if p == nil {
		return 0
	}
	return p.version
}

// Run takes records through the stages. Its error is never a module's or a record's fault.
func (p *Pipeline) Run(ctx context.Context, in pipeline.Input, out *pipeline.Result) error {
	return p.run.Run(ctx, in, out)
}

// StageName is name@version of stage i, or empty when there is none.
func (p *Pipeline) StageName(i int) string { return p.run.StageName(i) }

// Slot owns the version of a pipeline that is in force; it is empty at first. Safe for concurrent use,
// except that Replace and Clear must not be called concurrently with each other.
type Slot struct{ current atomic.Pointer[Pipeline] }

// Acquire holds the version in force until Release; nil when there is none.
func (s *Slot) Acquire() *Pipeline {
	for {
		p := s.current.Load()
		if p == nil || p.Acquire() {
			return p
		}
		// It was replaced between the two: the slot has its successor.
	}
}

// Current is the version in force, to look at and not to run; nil when there is none.
func (s *Slot) Current() *Pipeline { return s.current.Load() }

// Replace puts a version in force, whose owner the slot becomes, and gives up the one before.
func (s *Slot) Replace(p *Pipeline) { s.current.Swap(p).Release() }

// Clear empties the slot.
func (s *Slot) Clear() { s.Replace(nil) }
