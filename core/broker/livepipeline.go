package broker

import (
	"context"
	"sync/atomic"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// livePipeline is one version of a pipeline, compiled. Requests hold it while they use it, so that a
// request sees one version whole, and a replaced version is closed when its last request is done.
// A nil livePipeline stands for none and takes every call.
type livePipeline struct {
	version uint64
	run     *pipeline.Pipeline
	err     error        // it could not be loaded: writes are refused rather than let through unchecked
	refs    atomic.Int64 // 1 for being current, 1 for every request
}

// acquirePipeline takes hold of the topic's current write pipeline.
func (t *topic) acquirePipeline() *livePipeline {
	for {
		l := t.write.Load()
		if l == nil || l.acquire() {
			return l
		}
	}
}

func (l *livePipeline) acquire() bool {
	for {
		n := l.refs.Load()
		if n == 0 {
			return false // replaced and closed: the caller looks again
		}
		if l.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (l *livePipeline) release() {
	if l != nil && l.refs.Add(-1) == 0 && l.run != nil {
		l.run.Close()
	}
}

func (l *livePipeline) failure() error {
	if l == nil {
		return nil
	}
	return l.err
}

// compile builds a pipeline's stages. Its errors are INVALID_PIPELINE or INVALID_MODULE.
func (b *Broker) compile(ctx context.Context, name string, version uint64, place abi.Place, stages []metadata.Stage) (*livePipeline, error) {
	specs := make([]pipeline.StageSpec, len(stages))
	image := b.meta.Image()
	for i, s := range stages {
		m := image.Module(s.Module, s.Version)
		if m == nil {
			return nil, errcode.New(errcode.UnknownModule, "%s: stage %d names module %s@%d, which does not exist", name, i, s.Module, s.Version)
		}
		specs[i] = pipeline.StageSpec{
			Module: s.Module, Version: m.Version, Hash: m.SHA256, Config: s.Config,
			OnError: s.OnError, DeadLetterTopic: s.DeadLetterTopic,
			Limits: pipeline.Limits{MemoryBytes: s.Limits.MemoryBytes},
		}
	}
	run, err := pipeline.Compile(ctx, b.engine, b.modules, pipeline.Spec{Name: name, Version: version, Place: place, Stages: specs})
	if err != nil {
		return nil, errcode.New(errcode.InvalidPipeline, "%s: %w", name, err)
	}
	l := &livePipeline{version: version, run: run}
	l.refs.Store(1)
	return l, nil
}
