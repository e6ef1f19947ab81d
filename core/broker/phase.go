package broker

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Phases of a record's way: names of spans, and of the durations that the observer gets. docs/telemetry.md
// says where each begins and ends.
const (
	phaseProduce  = "produce"
	phasePipeline = "pipeline"
	phaseRoute    = "route"
	phaseAppend   = "append"
	phaseFetch    = "fetch"
	phaseRead     = "read"
)

// phases measures and traces the phases of requests.
type phases struct {
	tracer   trace.Tracer
	observer Observer
}

// phase is a phase under way.
type phase struct {
	name     string
	observer Observer
	span     trace.Span
	began    time.Time
}

// begin starts a phase on a partition; topicName is empty and number negative when it concerns several.
func (p phases) begin(ctx context.Context, name, topicName string, number int32) (context.Context, phase) {
	ctx, span := p.tracer.Start(ctx, name)
	if span.IsRecording() {
		if topicName != "" {
			span.SetAttributes(attribute.String("wasmill.topic", topicName))
		}
		if number >= 0 {
			span.SetAttributes(attribute.Int("wasmill.partition", int(number)))
		}
	}
	return ctx, phase{name: name, observer: p.observer, span: span, began: time.Now()}
}

// end reports the phase to the observer and the trace.
func (p phase) end(err error) {
	p.observer.Phase(p.name, time.Since(p.began))
	if err != nil && p.span.IsRecording() {
		p.span.SetStatus(codes.Error, err.Error())
	}
	p.span.End()
}

// route begins the phase in which a derivation writes to other topics.
func (p phases) route(ctx context.Context) (context.Context, func(error)) {
	ctx, ph := p.begin(ctx, phaseRoute, "", AnyPartition)
	return ctx, ph.end
}
