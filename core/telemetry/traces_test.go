package telemetry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/httpapi"
)

// stub is a broker that begins a span, as the real one does, when it is asked for the cluster. It
// answers nothing else but Ready.
type stub struct {
	httpapi.Broker
	tracer trace.Tracer
	fail   error
}

func (s stub) Ready() error { return nil }

func (s stub) Cluster(ctx context.Context) (*api.Cluster, error) {
	_, span := s.tracer.Start(ctx, "inner")
	defer span.End()
	return &api.Cluster{ClusterID: "c"}, s.fail
}

// announcing announces when a request's end was observed, which may be after the client has its answer.
type announcing struct {
	*Telemetry
	finished chan struct{}
}

func (a announcing) RequestFinished(ctx context.Context, r *httpapi.Request) {
	a.Telemetry.RequestFinished(ctx, r)
	a.finished <- struct{}{}
}

// site is an HTTP server that telemetry observes.
type site struct {
	url      string
	finished chan struct{}
}

// serve starts a site; its broker answers with fail.
func serve(t *testing.T, tel *Telemetry, fail error) site {
	t.Helper()
	observer := announcing{tel, make(chan struct{}, 1)}
	s, err := httpapi.New(httpapi.Options{Observer: observer, TraceContext: tel.TraceContext, Metrics: tel.Handler()},
		stub{tracer: tel.Tracer(), fail: fail})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return site{"http://" + ln.Addr().String(), observer.finished}
}

// get asks for a path and returns when the request's end was observed.
func (s site) get(t *testing.T, path, traceparent string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if traceparent != "" {
		req.Header.Set("traceparent", traceparent)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: testTimeout}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	await(t, s.finished)
}

// recorded are the spans that have ended, by name.
func recorded(t *testing.T, tel *Telemetry, exporter *tracetest.InMemoryExporter) map[string]tracetest.SpanStub {
	t.Helper()
	if err := tel.traces.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := map[string]tracetest.SpanStub{}
	for _, s := range exporter.GetSpans() {
		spans[s.Name] = s
	}
	return spans
}

const (
	remoteTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	remoteSpan  = "00f067aa0ba902b7"
)

func tracing(t *testing.T, perSecond int) (*Telemetry, *tracetest.InMemoryExporter) {
	exporter := tracetest.NewInMemoryExporter()
	return start(t, Options{spans: exporter, TracesPerSecond: perSecond}), exporter
}

func TestSpansOfARequest(t *testing.T) {
	tel, exporter := tracing(t, -1) // what is recorded is so because the client says so
	s := serve(t, tel, nil)
	s.get(t, "/v1/cluster", "00-"+remoteTrace+"-"+remoteSpan+"-01")
	s.get(t, "/healthz", "00-"+remoteTrace+"-"+remoteSpan+"-01")
	spans := recorded(t, tel, exporter)
	if len(spans) != 2 {
		t.Fatalf("%d spans, want the request's and the broker's: %v", len(spans), spans)
	}
	server, inner := spans["GET /v1/cluster"], spans["inner"]
	if server.SpanKind != trace.SpanKindServer || !server.Parent.IsRemote() ||
		server.Parent.SpanID().String() != remoteSpan || server.SpanContext.TraceID().String() != remoteTrace {
		t.Errorf("the request's span does not continue the client's trace: %+v", server)
	}
	if inner.Parent.SpanID() != server.SpanContext.SpanID() {
		t.Errorf("the broker's span is not a child of the request's: %+v", inner)
	}
	got := map[attribute.Key]string{}
	for _, kv := range server.Attributes {
		got[kv.Key] = kv.Value.String()
	}
	for key, want := range map[attribute.Key]string{
		"http.request.method": "GET", "http.route": "/v1/cluster", "http.response.status_code": "200",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	if got["wasmill.request_id"] == "" || got["http.response.body.size"] == "0" {
		t.Errorf("attributes %v", got)
	}
	if !server.EndTime.After(server.StartTime) || server.Status.Code != codes.Unset {
		t.Errorf("span %+v", server)
	}
}

func TestSpanOfAFailedRequest(t *testing.T) {
	tel, exporter := tracing(t, 0)
	serve(t, tel, errcode.New(errcode.StorageFailed, "broken")).get(t, "/v1/cluster", "")
	server := recorded(t, tel, exporter)["GET /v1/cluster"]
	if server.Status.Code != codes.Error || server.Parent.IsValid() {
		t.Errorf("span %+v", server)
	}
	for _, kv := range server.Attributes {
		if kv.Key == "error.type" && kv.Value.AsString() == "STORAGE_FAILED" {
			return
		}
	}
	t.Errorf("the error is not named: %v", server.Attributes)
}

func TestUnsampledRequestsRecordNothing(t *testing.T) {
	for name, traceparent := range map[string]string{
		"not sampled": "00-" + remoteTrace + "-" + remoteSpan + "-00",
		"no trace":    "",
		"broken":      "00-" + remoteTrace + "-zz-01",
		"endless":     "00-" + strings.Repeat("f", 4000) + "-01",
	} {
		t.Run(name, func(t *testing.T) {
			tel, exporter := tracing(t, -1)
			serve(t, tel, nil).get(t, "/v1/cluster", traceparent)
			if spans := recorded(t, tel, exporter); len(spans) != 0 {
				t.Errorf("spans %v", spans)
			}
		})
	}
}

func TestWithoutAnEndpointNothingIsTraced(t *testing.T) {
	tel := start(t, Options{})
	request := &httpapi.Request{Method: "GET", Route: "/v1/cluster"}
	ctx := t.Context()
	if got := tel.RequestStarted(ctx, request); got != ctx {
		t.Error("a request gets a context of its own")
	}
	inner, span := tel.Tracer().Start(ctx, "append")
	if inner != ctx || span.IsRecording() || span.SpanContext().IsValid() {
		t.Error("a span is recorded")
	}
	if n := testing.AllocsPerRun(100, func() { _, s := tel.Tracer().Start(ctx, "append"); s.End() }); n != 0 {
		t.Errorf("a silent span takes %v allocations", n)
	}
	serve(t, tel, nil).get(t, "/v1/cluster", "00-"+remoteTrace+"-"+remoteSpan+"-01")
}

func TestRateSampler(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newRateSampler(3, func() time.Time { return now })
	takes := func(n int) (taken int) {
		for range n {
			if s.take() {
				taken++
			}
		}
		return taken
	}
	for range 2 {
		if got := takes(10); got != 3 {
			t.Errorf("%d of 10 are taken within a second, want 3", got)
		}
		now = now.Add(time.Second)
	}
	if got := takes(2); got != 2 {
		t.Errorf("%d of 2 are taken, want both", got)
	}
	none := newRateSampler(-1, time.Now)
	if none.take() {
		t.Error("a rate below nothing takes a trace")
	}
}
