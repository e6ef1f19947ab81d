package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// signalURL is where one kind of data goes: the collector's URL with the path that OTLP fixes.
func signalURL(endpoint, signal string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("OTLP endpoint %q is not a URL such as http://127.0.0.1:4318", endpoint)
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/v1/" + signal
	return u.String(), nil
}

// exportLog logs when a collector stops taking data, and when it takes it again; not every failure in
// between. The exporters return no errors, as the SDK would print them to standard error.
type exportLog struct {
	logger  *slog.Logger
	failing atomic.Bool
}

func newExportLog(o Options, signal string) *exportLog {
	return &exportLog{logger: o.Logger.With("endpoint", o.OTLPEndpoint, "signal", signal)}
}

func (l *exportLog) note(err error) {
	switch {
	case err != nil && !l.failing.Swap(true):
		l.logger.Warn("telemetry export failed; retrying", "error", err)
	case err == nil && l.failing.Swap(false):
		l.logger.Info("telemetry export works again")
	}
}

type metricExporter struct {
	sdkmetric.Exporter
	log *exportLog
}

func newMetricExporter(o Options) (sdkmetric.Exporter, error) {
	to, err := signalURL(o.OTLPEndpoint, "metrics")
	if err != nil {
		return nil, err
	}
	e, err := otlpmetrichttp.New(context.Background(), otlpmetrichttp.WithEndpointURL(to),
		otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
	if err != nil {
		return nil, fmt.Errorf("OTLP metric exporter: %w", err)
	}
	return &metricExporter{Exporter: e, log: newExportLog(o, "metrics")}, nil
}

// Export implements sdkmetric.Exporter.
func (e *metricExporter) Export(ctx context.Context, data *metricdata.ResourceMetrics) error {
	e.log.note(e.Exporter.Export(ctx, data))
	return nil
}

type spanExporter struct {
	sdktrace.SpanExporter
	log *exportLog
}

func newSpanExporter(o Options) (sdktrace.SpanExporter, error) {
	to, err := signalURL(o.OTLPEndpoint, "traces")
	if err != nil {
		return nil, err
	}
	e, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(to),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	if err != nil {
		return nil, fmt.Errorf("OTLP trace exporter: %w", err)
	}
	return &spanExporter{SpanExporter: e, log: newExportLog(o, "traces")}, nil
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.log.note(e.SpanExporter.ExportSpans(ctx, spans))
	return nil
}
