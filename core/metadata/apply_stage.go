package metadata

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/wasm/abi"
)

// ResolveStages checks stages as a user writes them and fills in the module versions and policies that
// are left out. Topic is the one whose records the stages get. The caller owns the result. The error is
// an *errcode.Error whose field "stage" is the stage's index.
func (i *Image) ResolveStages(place abi.Place, topic string, stages []Stage) ([]Stage, error) {
	if len(stages) == 0 {
		return nil, errcode.New(errcode.InvalidPipeline, "there are no stages: name at least one module")
	}
	if len(stages) > abi.MaxStages {
		return nil, errcode.New(errcode.InvalidPipeline, "there are %d stages, the most is %d", len(stages), abi.MaxStages)
	}
	out := make([]Stage, len(stages))
	for n, s := range stages {
		resolved, err := i.resolveStage(place, topic, s)
		if err != nil {
			e := errcode.From(err)
			told := errcode.Error{Code: e.Code, Detail: "stage " + strconv.Itoa(n) + ": " + e.Detail, Fields: e.Fields, Cause: e.Cause}
			return nil, told.With("stage", n)
		}
		out[n] = resolved
	}
	return out, nil
}

func (i *Image) resolveStage(place abi.Place, topic string, s Stage) (Stage, error) {
	name, version, err := ParseModuleRef(s.Module)
	if err != nil {
		return Stage{}, err
	}
	if version != 0 && s.Version != 0 && version != s.Version {
		return Stage{}, errcode.New(errcode.InvalidPipeline, "it names module %s and version %d: which one?", s.Module, s.Version)
	}
	m, err := i.mustModule(name, max(version, s.Version))
	if err != nil {
		return Stage{}, err
	}
	s.Module, s.Version = m.Name, m.Version
	if s.Config, err = canonicalConfig(s.Config); err != nil {
		return Stage{}, err
	}
	// The bounds below are those of the first version of the commands: what a log holds is applied again, so
	// they can never become narrower.
	if mem := s.Limits.MemoryBytes; mem != 0 && (mem < abi.PageSize || mem > abi.AddressableBytes) {
		return Stage{}, errcode.New(errcode.InvalidPipeline, "memory_bytes must be from %d to %d, not %d", abi.PageSize, int64(abi.AddressableBytes), mem)
	}
	if s.OnError, err = i.resolvePolicy(place, topic, s); err != nil {
		return Stage{}, err
	}
	return s, nil
}

func (i *Image) resolvePolicy(place abi.Place, topic string, s Stage) (abi.OnError, error) {
	policy, err := place.Policy(s.OnError, s.DeadLetterTopic)
	switch {
	case err != nil:
		return "", errcode.New(errcode.InvalidPipeline, "%w", err)
	case policy != abi.OnErrorDeadLetter:
		return policy, nil
	case s.DeadLetterTopic == topic:
		return "", errcode.New(errcode.InvalidPipeline, "the dead-letter topic cannot be %s itself: failed records would meet the same stage again", topic)
	}
	_, err = i.mustTopic(s.DeadLetterTopic)
	return policy, err
}

// canonicalConfig is a stage's configuration without insignificant space, so that the same configuration
// has the same bytes. null is the same as no configuration.
func canonicalConfig(config json.RawMessage) (json.RawMessage, error) {
	if len(config) == 0 {
		return nil, nil
	}
	if len(config) > abi.MaxWrittenConfigBytes {
		return nil, errcode.New(errcode.InvalidPipeline, "its config takes %d bytes, the most is %d", len(config), abi.MaxWrittenConfigBytes)
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, config); err != nil {
		return nil, errcode.New(errcode.InvalidPipeline, "its config is not JSON: %w", err)
	}
	if !utf8.Valid(buf.Bytes()) {
		return nil, errcode.New(errcode.InvalidPipeline, "its config is not UTF-8")
	}
	if buf.String() == "null" {
		return nil, nil
	}
	return buf.Bytes(), nil
}

func (c SetPipeline) apply(next *Image, at time.Time) (Result, error) {
	if _, err := next.mustTopic(c.Topic); err != nil {
		return Result{}, err
	}
	old := next.pipelines[c.Topic]
	if err := expectVersion("the pipeline of topic "+c.Topic, c.Expected, pipelineVersion(old)); err != nil {
		return Result{}, err
	}
	stages, err := next.ResolveStages(abi.PlaceWrite, c.Topic, c.Stages)
	if err != nil {
		return Result{}, err
	}
	if old != nil && sameStages(old.Stages, stages) {
		return Result{Pipeline: old}, nil
	}
	p := &Pipeline{Topic: c.Topic, Version: next.count(countPipeline, c.Topic), Stages: stages, UpdatedAt: at}
	next.pipelines = with(next.pipelines, c.Topic, p)
	return Result{Changed: true, Created: old == nil, Pipeline: p}, nil
}

func (c DeletePipeline) apply(next *Image, _ time.Time) (Result, error) {
	if _, err := next.mustTopic(c.Topic); err != nil {
		return Result{}, err
	}
	old := next.pipelines[c.Topic]
	if err := expectVersion("the pipeline of topic "+c.Topic, c.Expected, pipelineVersion(old)); err != nil {
		return Result{}, err
	}
	if old == nil {
		return Result{}, errcode.New(errcode.NotFound, "topic %s has no pipeline", c.Topic)
	}
	next.pipelines = without(next.pipelines, c.Topic)
	return Result{Changed: true, Pipeline: old}, nil
}

// pipelineVersion is 0 when there is no pipeline.
func pipelineVersion(p *Pipeline) uint64 {
	if p == nil {
		return 0
	}
	return p.Version
}

func sameStages(a, b []Stage) bool {
	return slices.EqualFunc(a, b, func(a, b Stage) bool { return reflect.DeepEqual(a, b) })
}
