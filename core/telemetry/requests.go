package telemetry

import (
	"context"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/wasmill/wasmill/core/httpapi"
)

const operationHTTP = "http"

// requestKey is what requests are counted by. The server knows few methods, routes and statuses.
type requestKey struct {
	method, route string
	status        int
}

type requestCell struct {
	labels   metric.MeasurementOption
	duration []metric.RecordOption

	received, sent atomic.Int64
}

func newRequestCell(k requestKey) *requestCell {
	c := &requestCell{labels: labels(
		attribute.String("method", k.method), attribute.String("route", k.route), attribute.Int("status", k.status))}
	c.duration = []metric.RecordOption{c.labels}
	return c
}

// RequestStarted implements httpapi.Observer. Requests to the API begin a span; what health checks and
// scrapers ask for does not.
func (t *Telemetry) RequestStarted(ctx context.Context, r *httpapi.Request) context.Context {
	t.activeRequests.Add(1)
	if t.traces == nil || !strings.HasPrefix(r.Route, "/v1/") {
		return ctx
	}
	ctx, span := t.tracer.Start(ctx, r.Method+" "+r.Route, trace.WithSpanKind(trace.SpanKindServer))
	if span.IsRecording() {
		span.SetAttributes(semconv.HTTPRequestMethodKey.String(r.Method), semconv.HTTPRoute(r.Route),
			attribute.String("wasmill.request_id", string(r.ID)))
	}
	return ctx
}

// RequestFinished implements httpapi.Observer.
func (t *Telemetry) RequestFinished(ctx context.Context, r *httpapi.Request) {
	t.activeRequests.Add(-1)
	c := t.requests.of(requestKey{r.Method, r.Route, r.Status})
	c.received.Add(r.BytesIn)
	c.sent.Add(r.BytesOut)
	t.instruments.requestDuration.Record(ctx, r.Duration.Seconds(), c.duration...)
	if r.Err != nil {
		t.failed(operationHTTP, r.Err.Code)
	}
	if t.traces == nil || !strings.HasPrefix(r.Route, "/v1/") {
		return
	}
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() {
		span.SetAttributes(semconv.HTTPResponseStatusCode(r.Status), semconv.HTTPRequestBodySize(int(r.BytesIn)),
			semconv.HTTPResponseBodySize(int(r.BytesOut)))
		if r.Err != nil {
			span.SetAttributes(semconv.ErrorTypeKey.String(r.Err.Code.String()))
		}
		if r.Status >= 500 {
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}
