package broker

import (
	"context"
	"slices"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/transform"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// DryRun runs a module on given records and returns every verdict. Nothing is written, and routes are
// shown whether or not their topics exist.
func (b *Broker) DryRun(ctx context.Context, name string, version int, req DryRunRequest) (*DryRunResult, error) {
	m, err := b.Module(ctx, name, version)
	if err != nil {
		return nil, err
	}
	place := abi.PlaceWrite
	switch req.Place {
	case "", "write":
	case "view":
		place = abi.PlaceView
	default:
		return nil, errcode.New(errcode.InvalidRequest, "dry-run: place must be write or view, not %q", req.Place)
	}
	trial, err := b.loader.Try(ctx, transform.Spec{Name: "dry-run of " + name, Place: place, Stages: []metadata.Stage{
		{Module: name, Version: m.Version, Config: req.Config, OnError: abi.OnError(req.OnError)},
	}}, req.Topic)
	if err != nil {
		return nil, err
	}
	defer trial.Release()

	var result pipeline.Result
	started := time.Now()
	err = trial.Run(ctx, pipeline.Input{
		Topic: req.Topic, Partition: req.Partition, Place: place, BaseOffset: -1, Records: req.Records,
	}, &result)
	if err != nil {
		return nil, errcode.New(errcode.TransformFailed, "dry-run of %s: %w", name, err)
	}
	return &DryRunResult{
		Module: trial.StageName(0), Elapsed: time.Since(started), Verdicts: dryRunVerdicts(&result, req.Topic),
	}, nil
}

func dryRunVerdicts(result *pipeline.Result, topicName string) []DryRunVerdict {
	verdicts := make([]DryRunVerdict, len(result.Verdicts))
	for i, v := range result.Verdicts {
		verdicts[i] = DryRunVerdict{Index: i, Verdict: v.Kind.String(), Code: int(v.Code), Message: v.Message}
	}
	for _, e := range result.Own {
		v := &verdicts[e.Source]
		v.Outputs = append(v.Outputs, DryRunOutput{Topic: topicName, Partition: AnyPartition, Record: cloneRecord(e.Record)})
	}
	for _, e := range result.Routed {
		v := &verdicts[e.Source]
		v.Outputs = append(v.Outputs, DryRunOutput{Topic: e.Topic, Partition: e.Partition, Record: cloneRecord(e.Record)})
	}
	return verdicts
}

// cloneRecord copies a record out of a pipeline's scratch memory.
func cloneRecord(r record.Record) record.Record {
	r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	r.Headers = slices.Clone(r.Headers)
	for i, h := range r.Headers {
		r.Headers[i] = record.RecordHeader{Key: slices.Clone(h.Key), Value: slices.Clone(h.Value)}
	}
	return r
}
