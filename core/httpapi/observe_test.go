package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
)

// observerFunc hears of finished requests.
type observerFunc func(*Request)

func (observerFunc) RequestStarted(ctx context.Context, _ *Request) context.Context { return ctx }

func (f observerFunc) RequestFinished(_ context.Context, r *Request) { f(r) }

type seen struct {
	route, id, trace  string
	status            int
	bytesIn, bytesOut int64
	code              errcode.Code
}

// spy keeps what it hears and counts starts.
type spy struct {
	mu       sync.Mutex
	started  int
	finished []seen
}

type traceKey struct{}

func (s *spy) RequestStarted(ctx context.Context, r *Request) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started++
	if r.Status != 0 || r.Duration != 0 {
		panic("a request that begins has a status")
	}
	return ctx
}

func (s *spy) RequestFinished(ctx context.Context, r *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	trace, _ := ctx.Value(traceKey{}).(string)
	out := seen{route: r.Method + " " + r.Route, id: string(r.ID), trace: trace, status: r.Status, bytesIn: r.BytesIn, bytesOut: r.BytesOut}
	if r.Err != nil {
		out.code = r.Err.Code
	}
	s.finished = append(s.finished, out)
}

func TestObserver(t *testing.T) {
	s := &spy{}
	var inBroker string
	ts := serve(t, Options{
		Observer: s,
		TraceContext: func(ctx context.Context, h Headers) context.Context {
			if len(h.Keys()) == 0 {
				t.Error("no header names")
			}
			return context.WithValue(ctx, traceKey{}, h.Get("Traceparent"))
		},
	})
	ts.fake.OnProduce = func(ctx context.Context) error {
		inBroker, _ = ctx.Value(traceKey{}).(string)
		return nil
	}
	body := `{"records":[{"key":"a"}]}`
	a := ts.want(http.StatusOK, ts.post("/v1/topics/t/records", mediaJSON, body, "X-Request-Id", "my-id.1", "Traceparent", "00-abc"))
	if got := a.Header.Get("X-Request-Id"); got != "my-id.1" {
		t.Errorf("request id %q", got)
	}
	b := ts.get("/v1/topics/none", "X-Request-Id", "not\tfit")
	ts.wantCode(errcode.UnknownTopicOrPartition, b)
	if got := b.Header.Get("X-Request-Id"); len(got) < 18 || strings.Contains(got, "fit") {
		t.Errorf("request id %q", got)
	}
	ts.shutdown()
	if inBroker != "00-abc" {
		t.Errorf("the broker saw trace %q", inBroker)
	}
	if s.started != 3 || len(s.finished) != 3 {
		t.Fatalf("%d requests started, %d finished; want 3", s.started, len(s.finished))
	}
	want := seen{"POST /v1/topics/{topic}/records", "my-id.1", "00-abc", 200, int64(len(body)), int64(len(a.body)), 0}
	if got := s.finished[1]; got != want {
		t.Errorf("produce is told as %+v, want %+v", got, want)
	}
	if got := s.finished[2]; got.status != 404 || got.code != errcode.UnknownTopicOrPartition || got.bytesOut != int64(len(b.body)) {
		t.Errorf("the refusal is told as %+v", got)
	}
}
