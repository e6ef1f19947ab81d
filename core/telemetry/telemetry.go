// Package telemetry turns what the broker, the log, the Wasm engine and the HTTP server observe into
// OpenTelemetry metrics and traces. Metrics are always kept and served in the Prometheus format;
// metrics and traces are exported over OTLP only when an endpoint is given. docs/telemetry.md lists
// every metric and span.
//
// What is counted on the paths of requests is an atomic number in a cell that is found by its label
// (cells.go); readers collect the cells when they want them. Only durations go through an instrument
// at once, as histograms need every value. Nothing here ever blocks a request.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/httpapi"
)

// scope names the instruments and the tracer.
const scope = "github.com/wasmill/wasmill"

// Options configure Start. The zero value is usable: metrics for Prometheus, nothing exported.
type Options struct {
	Version  string
	BrokerID string
	// OTLPEndpoint is the URL of an OpenTelemetry collector, such as http://127.0.0.1:4318, to which
	// metrics and traces go over HTTP. Empty: nothing is exported and no span is recorded.
	OTLPEndpoint string
	// ExportEvery is how often metrics are exported; 0 for 15 s.
	ExportEvery time.Duration
	// TracesPerSecond is how many traces a second this broker begins on its own accord; 0 for 100,
	// negative for none. A request that says that its trace is sampled always is.
	TracesPerSecond int
	Logger          *slog.Logger // nil: discards

	// spans takes the place of the OTLP exporter in tests.
	spans sdktrace.SpanExporter
}

func (o Options) withDefaults() Options {
	if o.ExportEvery == 0 {
		o.ExportEvery = 15 * time.Second
	}
	if o.TracesPerSecond == 0 {
		o.TracesPerSecond = 100
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Telemetry is safe for concurrent use. It is the observer of the broker, its logs and its engine, and
// of the HTTP server.
type Telemetry struct {
	started  time.Time
	build    metric.MeasurementOption
	registry *prometheus.Registry
	meters   *sdkmetric.MeterProvider
	traces   *sdktrace.TracerProvider // nil: no tracing
	tracer   trace.Tracer

	instruments instruments
	topics      *cells[string, topicCell]
	partitions  *cells[partitionKey, partitionCell]
	modules     *cells[string, moduleCell]
	phases      *cells[string, phaseCell]
	requests    *cells[requestKey, requestCell]
	failures    *cells[failureKey, failureCell]

	activeRequests atomic.Int64
	partitionsNow  atomic.Pointer[func() []PartitionStat]
	memoryUsage    atomic.Pointer[func() []admission.Usage]

	shutdown func(context.Context) error
}

var (
	_ broker.Observer  = (*Telemetry)(nil)
	_ httpapi.Observer = (*Telemetry)(nil)
)

// Start makes the instruments and, if there is an endpoint, begins to export. It does not wait for the
// collector: one that cannot be reached is logged and tried again.
func Start(o Options) (*Telemetry, error) {
	o = o.withDefaults()
	t := &Telemetry{
		started:  time.Now(),
		registry: prometheus.NewRegistry(),
		tracer:   silentTracer{},
		build:    buildInfo(o),
	}
	t.makeCells()
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	res, err := resource.New(context.Background(), resource.WithFromEnv(), resource.WithAttributes(
		semconv.ServiceName("wasmill"), semconv.ServiceVersion(o.Version), semconv.ServiceInstanceID(o.BrokerID)))
	if err != nil {
		return nil, fmt.Errorf("start telemetry: %w", err)
	}
	if err := t.startMetrics(o, res); err != nil {
		return nil, fmt.Errorf("start telemetry: %w", errors.Join(err, t.stop(context.Background())))
	}
	if err := t.startTraces(o, res); err != nil {
		return nil, fmt.Errorf("start telemetry: %w", errors.Join(err, t.stop(context.Background())))
	}
	var once sync.Once
	var stopped error
	t.shutdown = func(ctx context.Context) error {
		once.Do(func() { stopped = t.stop(ctx) })
		return stopped
	}
	return t, nil
}

// startMetrics opens the readers and makes the instruments.
func (t *Telemetry) startMetrics(o Options, res *resource.Resource) error {
	pull, err := otelprometheus.New(otelprometheus.WithRegisterer(t.registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("prometheus exporter: %w", err)
	}
	options := []sdkmetric.Option{
		sdkmetric.WithResource(res), sdkmetric.WithReader(pull),
		sdkmetric.WithCardinalityLimit(0), // the cells are bounded
	}
	if !o.tracing() {
		options = append(options, sdkmetric.WithExemplarFilter(exemplar.AlwaysOffFilter))
	}
	if o.OTLPEndpoint != "" {
		push, err := newMetricExporter(o)
		if err != nil {
			return err
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(push, sdkmetric.WithInterval(o.ExportEvery))))
	}
	t.meters = sdkmetric.NewMeterProvider(options...)
	return t.instruments.make(t.meters.Meter(scope), t.collect)
}

// Handler answers GET /metrics in the Prometheus text format, or OpenMetrics if that is asked for.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Shutdown exports what was not exported yet and ends all goroutines. ctx bounds it: what the
// collector does not take by then is lost. Observing goes on to be allowed and has no effect on what
// was exported. Idempotent.
func (t *Telemetry) Shutdown(ctx context.Context) error { return t.shutdown(ctx) }

func (t *Telemetry) stop(ctx context.Context) error {
	var errs []error
	if t.traces != nil {
		errs = append(errs, t.traces.Shutdown(ctx))
	}
	if t.meters != nil {
		errs = append(errs, t.meters.Shutdown(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop telemetry: %w", err)
	}
	return nil
}

// labels is the option that puts labels on a value.
func labels(kvs ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(kvs...))
}
