package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes OTLP over HTTP and keeps the names of what arrives.
type collector struct {
	t      *testing.T
	status int
	asked  chan struct{} // one token per request, as far as it has room

	mu      sync.Mutex
	metrics map[string]bool
	spans   []string
	service map[string]string
}

func startCollector(t *testing.T, status int) (*collector, string) {
	c := &collector{t: t, status: status, asked: make(chan struct{}, 64), metrics: map[string]bool{}, service: map[string]string{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return c, server.URL
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			c.t.Error(err)
			return
		}
		body = unzipped
	}
	data, err := io.ReadAll(body)
	if err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.URL.Path {
	case "/prefix/v1/metrics":
		c.takeMetrics(data)
	case "/prefix/v1/traces":
		c.takeSpans(data)
	default:
		c.t.Errorf("a request to %s", r.URL.Path)
	}
	w.WriteHeader(c.status)
	select {
	case c.asked <- struct{}{}:
	default:
	}
}

func (c *collector) takeMetrics(data []byte) {
	var req collectormetrics.ExportMetricsServiceRequest
	if err := proto.Unmarshal(data, &req); err != nil {
		c.t.Error(err)
	}
	for _, rm := range req.GetResourceMetrics() {
		for _, kv := range rm.GetResource().GetAttributes() {
			c.service[kv.GetKey()] = kv.GetValue().GetStringValue()
		}
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				c.metrics[m.GetName()] = true
			}
		}
	}
}

func (c *collector) takeSpans(data []byte) {
	var req collectortrace.ExportTraceServiceRequest
	if err := proto.Unmarshal(data, &req); err != nil {
		c.t.Error(err)
	}
	for _, rs := range req.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.spans = append(c.spans, s.GetName())
			}
		}
	}
}

func TestShutdownExportsWhatIsLeft(t *testing.T) {
	c, url := startCollector(t, http.StatusOK)
	tel := start(t, Options{OTLPEndpoint: url + "/prefix/", ExportEvery: time.Hour})
	tel.Received("orders", 1, 1, 1)
	_, span := tel.Tracer().Start(t.Context(), "append")
	span.End()
	stop(t, tel)
	stop(t, tel) // again: nothing happens

	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.metrics["wasmill.topic.produced.records"] || !c.metrics["wasmill.uptime"] {
		t.Errorf("metrics %v", c.metrics)
	}
	if len(c.spans) != 1 || c.spans[0] != "append" {
		t.Errorf("spans %q", c.spans)
	}
	for key, want := range map[string]string{"service.name": "wasmill", "service.version": "1.2.3", "service.instance.id": "7"} {
		if c.service[key] != want {
			t.Errorf("%s is %q, want %q", key, c.service[key], want)
		}
	}
	tel.Received("orders", 1, 1, 1) // late observers do no harm
	tel.RequestFinished(context.Background(), lateRequest)
}

func TestMetricsAreExportedAtAnInterval(t *testing.T) {
	c, url := startCollector(t, http.StatusOK)
	start(t, Options{OTLPEndpoint: url + "/prefix", ExportEvery: 10 * time.Millisecond})
	for range 3 {
		await(t, c.asked)
	}
}

func TestARefusingCollectorIsLoggedOnce(t *testing.T) {
	c, url := startCollector(t, http.StatusBadRequest)
	var log lockedBuffer
	tel := start(t, Options{
		OTLPEndpoint: url + "/prefix", ExportEvery: 10 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for range 3 {
		await(t, c.asked)
	}
	stop(t, tel) // a collector that does not take the rest is no failure of the broker's
	if n := strings.Count(log.String(), "telemetry export failed"); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, log.String())
	}
}

func TestBadEndpointsAreRefused(t *testing.T) {
	for _, endpoint := range []string{"collector:4318", "ftp://host", "http://", "://", "nonsense"} {
		tel, err := Start(Options{OTLPEndpoint: endpoint})
		if err == nil {
			stop(t, tel)
			t.Errorf("%q is accepted", endpoint)
		} else if !strings.Contains(err.Error(), endpoint) {
			t.Errorf("%q: the error does not name it: %v", endpoint, err)
		}
	}
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(testTimeout):
		t.Fatal("what was waited for did not happen")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
