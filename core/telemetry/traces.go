package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/wasmill/wasmill/core/httpapi"
)

func (o *Options) tracing() bool { return o.OTLPEndpoint != "" || o.spans != nil }

// startTraces makes the tracer. Without an endpoint it stays the silent one.
func (t *Telemetry) startTraces(o Options, res *resource.Resource) error {
	if !o.tracing() {
		return nil
	}
	exporter := o.spans
	if exporter == nil {
		var err error
		if exporter, err = newSpanExporter(o); err != nil {
			return err
		}
	}
	t.traces = sdktrace.NewTracerProvider(
		sdktrace.WithResource(res), sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(newRateSampler(o.TracesPerSecond, time.Now))),
	)
	t.tracer = t.traces.Tracer(scope)
	return nil
}

// Tracer begins spans. When nothing is exported it is never nil, and its spans cost nothing.
func (t *Telemetry) Tracer() trace.Tracer { return t.tracer }

// TraceContext puts the trace that a request's traceparent and tracestate headers (W3C Trace Context)
// name into ctx.
func (t *Telemetry) TraceContext(ctx context.Context, headers httpapi.Headers) context.Context {
	if t.traces == nil || headers.Get("traceparent") == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, headers)
}

// silentTracer begins spans that are not recorded. Other than the noop package's it leaves the context
// as it is, so that it does not allocate.
type silentTracer struct{ embedded.Tracer }

var silentSpan trace.Span = noop.Span{}

func (silentTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	return ctx, silentSpan
}

// rateSampler takes the first so many traces of every second: all of them on a quiet broker, and few
// enough on a busy one.
type rateSampler struct {
	most int
	now  func() time.Time

	mu     sync.Mutex
	second int64
	taken  int
}

func newRateSampler(perSecond int, now func() time.Time) *rateSampler {
	return &rateSampler{most: perSecond, now: now}
}

// ShouldSample implements sdktrace.Sampler.
func (s *rateSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	result := sdktrace.SamplingResult{
		Decision: sdktrace.Drop, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState(),
	}
	if s.take() {
		result.Decision = sdktrace.RecordAndSample
	}
	return result
}

func (s *rateSampler) take() bool {
	second := s.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if second != s.second {
		s.second, s.taken = second, 0
	}
	if s.taken >= s.most {
		return false
	}
	s.taken++
	return true
}

// Description implements sdktrace.Sampler.
func (s *rateSampler) Description() string { return "RateSampler" }
