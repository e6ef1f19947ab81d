package broker

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Stages of a record's path: names of spans, and of the durations that the observer is told.
// docs/telemetry.md says where each begins and ends.
const (
	stageProduce  = "produce"
	stagePipeline = "pipeline"
	stageRoute    = "route"
	stageAppend   = "append"
	stageFetch    = "fetch"
	stageRead     = "read"
)

// step is a stage under way.
type step struct {
	stage    string
	observer Observer
	span     trace.Span
	began    time.Time
}

// begin starts a stage on a partition; number is negative when it concerns several.
func (b *Broker) begin(ctx context.Context, stage, topicName string, number int32) (context.Context, step) {
	ctx, span := b.opts.Tracer.Start(ctx, stage)
	if span.IsRecording() {
		if topicName != "" {
			span.SetAttributes(attribute.String("wasmill.topic", topicName))
		}
		if number >= 0 {
			span.SetAttributes(attribute.Int("wasmill.partition", int(number)))
		}
	}
	return ctx, step{stage: stage, observer: b.observer, span: span, began: time.Now()}
}

// end tells the observer and the trace what became of the stage.
func (s step) end(err error) {
	s.observer.Stage(s.stage, time.Since(s.began))
	if err != nil && s.span.IsRecording() {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
}
