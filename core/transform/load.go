package transform

import (
	"context"
	"log/slog"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/engine"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// Spec is a pipeline before it is loaded.
type Spec struct {
	Name    string // for errors
	Version uint64 // 0 for one that is not in the metadata
	Place   abi.Place
	Stages  []metadata.Stage
}

// LoaderOptions say what pipelines are compiled with. All are required.
type LoaderOptions struct {
	Engine  *engine.Engine
	Modules pipeline.ModuleSource
	Image   func() *metadata.Image // the newest
	Logger  *slog.Logger
}

// Loader compiles pipelines. Safe for concurrent use.
type Loader struct{ LoaderOptions }

// NewLoader makes a loader.
func NewLoader(o LoaderOptions) *Loader { return &Loader{o} }

// Load compiles a pipeline of the metadata. It always returns one; that it cannot be run is its Err, and is
// logged.
func (l *Loader) Load(ctx context.Context, spec Spec) *Pipeline {
	p, err := l.compile(ctx, spec)
	if err != nil {
		l.Logger.Error("a pipeline cannot be loaded: it refuses everything until it can",
			"pipeline", spec.Name, "version", spec.Version, "error", err)
		return newPipeline(spec.Version, nil, err)
	}
	return p
}

// Try resolves stages as the metadata would for a topic, and compiles them. The caller releases the result.
func (l *Loader) Try(ctx context.Context, spec Spec, topicName string) (*Pipeline, error) {
	resolved, err := l.Image().ResolveStages(spec.Place, topicName, spec.Stages)
	if err != nil {
		return nil, err
	}
	spec.Stages = resolved
	return l.compile(ctx, spec)
}

// Check is Try without the result.
func (l *Loader) Check(ctx context.Context, spec Spec, topicName string) error {
	p, err := l.Try(ctx, spec, topicName)
	p.Release()
	return err
}

// compile builds a pipeline's stages. Its errors are UNKNOWN_MODULE and INVALID_PIPELINE.
func (l *Loader) compile(ctx context.Context, spec Spec) (*Pipeline, error) {
	stages := make([]pipeline.StageSpec, len(spec.Stages))
	image := l.Image()
	for i, s := range spec.Stages {
		m := image.Module(s.Module, s.Version)
		if m == nil {
			return nil, errcode.New(errcode.UnknownModule, "%s: stage %d names module %s@%d, which does not exist", spec.Name, i, s.Module, s.Version)
		}
		stages[i] = pipeline.StageSpec{
			Module: s.Module, Version: m.Version, Hash: m.SHA256, Config: s.Config,
			OnError: s.OnError, DeadLetterTopic: s.DeadLetterTopic,
			MemoryBytes: s.Limits.MemoryBytes,
		}
	}
	run, err := pipeline.Compile(ctx, l.Engine, l.Modules, pipeline.Spec{
		Name: spec.Name, Version: spec.Version, Place: spec.Place, Stages: stages,
	})
	if err != nil {
		return nil, errcode.New(errcode.InvalidPipeline, "%s: %w", spec.Name, err)
	}
	return newPipeline(spec.Version, run, nil), nil
}
