// Package pipeline runs records through the stages of a pipeline and returns the outcome of each.
//
// Stages run in order; each gets what the ones before it left in the topic. Records that a stage routes
// to another topic leave the pipeline. All records that come of one input record, their source, are
// rejected together: when a stage rejects one of them, nothing of the source is written, so that a producer
// may send it again. Every other outcome concerns one record.
//
// A call that fails is repeated with halves of its records, on fresh instances, until each record that
// makes the module fail has a call of its own; only those get the stage's on_error. A stage that keeps
// failing is paused (see breaker).
package pipeline

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/engine"
)

// ErrClosed means that the pipeline was closed; run the version that replaced it.
var ErrClosed = errors.New("pipeline is closed")

// StageSpec is one stage.
type StageSpec struct {
	Module          string
	Version         int
	Hash            string // SHA-256 of the module in lower-case hex
	Config          json.RawMessage
	OnError         abi.OnError
	DeadLetterTopic string
	MemoryBytes     int64 // linear memory of one instance; 0: the engine's default
}

func (s StageSpec) label() string { return fmt.Sprintf("%s@%d", s.Module, s.Version) }

// Spec is a pipeline before it is compiled.
type Spec struct {
	Name    string // for errors
	Version uint64
	Place   abi.Place
	Stages  []StageSpec
	Now     func() time.Time // for the circuit breakers; nil: time.Now
}

func (s Spec) withDefaults() Spec {
	if s.Now == nil {
		s.Now = time.Now
	}
	return s
}

// ModuleSource returns modules by the SHA-256 of their bytes, in lower-case hex.
type ModuleSource interface {
	Get(ctx context.Context, hash string) ([]byte, error)
}

// Pipeline is compiled and ready. Run may be called from many goroutines.
type Pipeline struct {
	name    string
	version uint64
	place   abi.Place
	stages  []*stage
	now     func() time.Time

	// close waits for runs under way and frees the stages. Idempotent.
	close func()

	// running is held for reading by every Run, from the look at closed to its end, so that Close frees
	// nothing that a run uses. It covers closed.
	running sync.RWMutex
	closed  bool
}

type stage struct {
	index   int
	label   string
	pool    *engine.Pool
	mask    abi.Mask
	policy  abi.OnError
	dead    string // dead-letter topic
	breaker breaker
}

// Compile prepares every stage and starts one instance of each, so that a configuration that a module
// refuses is an error here. It does not limit the number of stages. The caller must Close the pipeline.
func Compile(ctx context.Context, e *engine.Engine, source ModuleSource, spec Spec) (*Pipeline, error) {
	if len(spec.Stages) == 0 {
		return nil, fmt.Errorf("pipeline %s has no stages", spec.Name)
	}
	p := &Pipeline{name: spec.Name, version: spec.Version, place: spec.Place, now: spec.withDefaults().Now}
	p.close = sync.OnceFunc(p.shutdown)
	for i, s := range spec.Stages {
		st, err := compileStage(ctx, e, source, spec.Place, s)
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("pipeline %s: stage %d (%s): %w", spec.Name, i, s.label(), err)
		}
		st.index = i
		p.stages = append(p.stages, st)
	}
	return p, nil
}

func compileStage(ctx context.Context, e *engine.Engine, source ModuleSource, place abi.Place, s StageSpec) (*stage, error) {
	policy, err := place.Policy(s.OnError, s.DeadLetterTopic)
	if err != nil {
		return nil, err
	}
	if fault := abi.NameFault(s.DeadLetterTopic); policy == abi.OnErrorDeadLetter && fault != "" {
		return nil, fmt.Errorf("dead-letter topic %q: %s", s.DeadLetterTopic, fault)
	}
	wasm, err := source.Get(ctx, s.Hash)
	if err != nil {
		return nil, err
	}
	m, err := e.Compile(ctx, wasm)
	if err != nil {
		return nil, err
	}
	defer m.Release() // the pool keeps the module
	if sum := m.Info().SHA256; hex.EncodeToString(sum[:]) != s.Hash {
		return nil, fmt.Errorf("its bytes have the SHA-256 %x, expected was %s; push the module again", sum, s.Hash)
	}
	pool, err := m.Pool(engine.PoolOptions{Label: s.label(), Config: s.Config, Limits: engine.Limits{MemoryBytes: s.MemoryBytes}})
	if err != nil {
		return nil, err
	}
	st := &stage{label: s.label(), pool: pool, mask: pool.Mask(), policy: policy, dead: s.DeadLetterTopic}
	st.breaker.threshold = breakerThreshold
	return st, nil
}

// Version is the one that the pipeline was compiled as.
func (p *Pipeline) Version() uint64 { return p.version }

// StageName is name@version of stage i, or empty when there is none.
func (p *Pipeline) StageName(i int) string {
	if i < 0 || i >= len(p.stages) {
		return ""
	}
	return p.stages[i].label
}

// Close waits for runs under way and frees the stages. Idempotent.
func (p *Pipeline) Close() { p.close() }

func (p *Pipeline) shutdown() {
	p.running.Lock()
	defer p.running.Unlock()
	p.closed = true
	for _, s := range p.stages {
		s.pool.Close()
	}
}
