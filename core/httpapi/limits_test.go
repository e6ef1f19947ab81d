package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/httpapi/apitest"
)

const produceHead = "POST /v1/topics/t/records HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

func (ts *testServer) appended() (n int64) {
	for number := range 2 {
		n += ts.fake.Partition("t", number).Next
	}
	return n
}

func TestBodyTooLarge(t *testing.T) {
	ts := serve(t, Options{MaxBodyBytes: 100_000})
	a := ts.post("/v1/topics/t/records", "text/plain", strings.Repeat("x", 100_001))
	p := ts.wantCode(errcode.RecordListTooLarge, a)
	if p["max_body_bytes"] != 100_000.0 || p["content_length"] != 100_001.0 {
		t.Errorf("problem %v", p)
	}
	ts.want(http.StatusOK, ts.post("/v1/topics/t/records", "text/plain", strings.Repeat("x", 100_000)))
	// Chunked: the length shows only while reading.
	chunked := func(n int) answer {
		return ts.do("POST", "/v1/topics/t/records", io.MultiReader(strings.NewReader(strings.Repeat("x", n))), "Content-Type", "text/plain")
	}
	ts.want(http.StatusOK, chunked(100_000))
	ts.want(http.StatusOK, chunked(0))
	ts.wantCode(errcode.RecordListTooLarge, chunked(100_001))
	if n := ts.appended(); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
}

// A refusal reaches a client that is still sending a body far too large to be drained.
func TestRefusalReachesASendingClient(t *testing.T) {
	ts := serve(t, Options{MaxBodyBytes: 100_000})
	for _, length := range []int{8 << 20, -1} {
		var body io.Reader = bytes.NewReader(make([]byte, 8<<20))
		if length < 0 {
			body = io.MultiReader(body)
		}
		ts.wantCode(errcode.RecordListTooLarge, ts.do("POST", "/v1/topics/t/records", body, "Content-Type", "text/plain"))
	}
}

// budgets divides total bytes, half of which is for bodies.
func budgets(t *testing.T, total int64) *admission.Controller {
	t.Helper()
	c, err := admission.New(total)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBodyBudget(t *testing.T) {
	ts := serve(t, Options{MaxBodyBytes: 64 << 10, MaxModuleBytes: 64 << 10, Admission: budgets(t, 128<<10)})
	entered, leave := make(chan struct{}), make(chan struct{})
	ts.fake.OnProduce = func(context.Context) error {
		entered <- struct{}{}
		<-leave
		return nil
	}
	body := strings.Repeat("x", 40<<10)
	first := make(chan answer, 1)
	go func() { first <- ts.post("/v1/topics/t/records", "text/plain", body) }()
	<-entered
	a := ts.post("/v1/topics/t/records", "text/plain", body)
	ts.wantCode(errcode.Overloaded, a)
	if got := a.Header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %q", got)
	}
	// What needs no body goes on.
	ts.want(http.StatusOK, ts.get("/v1/topics"))
	close(leave)
	ts.want(http.StatusOK, <-first)
	ts.fake.OnProduce = nil
	ts.want(http.StatusOK, ts.post("/v1/topics/t/records", "text/plain", body))
}

// Clients that announce large bodies and send nothing do not keep others from being served.
func TestAnnouncedBodiesHoldLittle(t *testing.T) {
	ts := serve(t, Options{Admission: budgets(t, 128<<20)})
	var idle []io.Closer
	for range 8 {
		idle = append(idle, ts.raw(produceHead+"Content-Length: 30000000\r\n\r\n{\"records\":"))
	}
	body := strings.Repeat("x", 20<<20)
	ts.want(http.StatusOK, ts.post("/v1/topics/t/records", "text/plain", body))
	for _, c := range idle {
		c.Close()
	}
	// One that could never be held in full is refused before any of it is read.
	if !ts.server.opts.Admission.Bodies.TryAcquire(40 << 20) {
		t.Fatal("abandoned uploads hold their memory")
	}
	c := ts.raw(produceHead + "Content-Length: 30000000\r\n\r\n{")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	ts.wantCode(errcode.Overloaded, ts.readAnswer(c))
	ts.server.opts.Admission.Bodies.Release(40 << 20)
}

func TestTruncatedUpload(t *testing.T) {
	ts := serve(t, Options{})
	record := `{"records":[{"value":"` + strings.Repeat("x", 20_000) + `"}]}`
	for name, request := range map[string]string{
		"short body":   produceHead + "Content-Length: 20\r\n\r\n" + `{"records":[{}`,
		"long body":    produceHead + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(record)) + record[:15_000],
		"no body":      produceHead + "Content-Length: 20\r\n\r\n",
		"broken chunk": produceHead + "Transfer-Encoding: chunked\r\n\r\n10\r\n{\"records\"",
		"chunks break": produceHead + "Transfer-Encoding: chunked\r\n\r\n10\r\n{\"records\":[{}]}\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ts.t = t
			c := ts.raw(request)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			ts.wantCode(errcode.RequestIncomplete, ts.readAnswer(c))
		})
	}
	if n := ts.appended(); n != 0 {
		t.Errorf("%d records of broken uploads were appended", n)
	}
}

func TestSlowUpload(t *testing.T) {
	ts := serve(t, Options{BodyGrace: 60 * time.Millisecond, MinBodyRate: 1000})
	c := ts.raw(produceHead + "Content-Length: 1000\r\n\r\n{\"records\":")
	p := ts.wantCode(errcode.RequestIncomplete, ts.readAnswer(c))
	if p["received_bytes"] != 11.0 {
		t.Errorf("problem %v", p)
	}
}

func TestSlowHeaders(t *testing.T) {
	ts := serve(t, Options{HeaderTimeout: 60 * time.Millisecond})
	c := ts.raw("POST /v1/topics/t/records HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	ts.wantCode(errcode.RequestIncomplete, ts.readAnswer(c))
	// A connection that never sends anything is closed too.
	silent := ts.dial()
	if _, err := io.ReadAll(silent); err != nil {
		t.Errorf("a silent connection: %v", err)
	}
}

func TestLargeHeaders(t *testing.T) {
	ts := serve(t, Options{MaxHeaderBytes: 4096})
	c := ts.raw("GET /v1/topics HTTP/1.1\r\nHost: x\r\nX-Big: " + strings.Repeat("x", 5000) + "\r\n\r\n")
	p := ts.wantCode(errcode.InvalidRequest, ts.readAnswer(c))
	if p["max_header_bytes"] != 4096.0 {
		t.Errorf("problem %v", p)
	}
	ts.wantCode(errcode.InvalidRequest, ts.readAnswer(ts.raw("not http at all\r\n\r\n")))
}

func TestRouting(t *testing.T) {
	ts := serve(t, Options{})
	for _, path := range []string{"/", "/v1", "/v2/topics", "/v1/topics/", "/v1/topics/a/b", "/v1/topics//records", "/v1/a/b/c/d/e/f/g/h/i", "/v1/topics/t/%2e%2e"} {
		ts.wantCode(errcode.NotFound, ts.get(path))
	}
	for _, c := range []struct{ method, path, allow string }{
		{"PUT", "/v1/topics", "GET, HEAD, POST"},
		{"GET", "/v1/topics/t/records", "POST"},
		{"OPTIONS", "/v1/topics/t", "DELETE, GET, HEAD, PATCH"},
		{"BREW", "/healthz", "GET, HEAD"},
	} {
		a := ts.do(c.method, c.path, nil)
		ts.wantCode(errcode.MethodNotAllowed, a)
		if got := a.Header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, got, c.allow)
		}
	}
	// An escaped slash belongs to the name.
	ts.wantCode(errcode.UnknownTopicOrPartition, ts.get("/v1/topics/a%2Fb"))
	a := ts.want(http.StatusOK, ts.do("HEAD", "/v1/topics/t", nil))
	if a.ContentLength <= 0 || len(a.body) != 0 {
		t.Errorf("HEAD: Content-Length %d, %d bytes", a.ContentLength, len(a.body))
	}
}

func TestPanicIsContained(t *testing.T) {
	ts := serve(t, Options{})
	ts.fake.OnProduce = func(context.Context) error { panic("boom") }
	a := ts.post("/v1/topics/t/records", mediaJSON, `{"records":[{}]}`)
	p := ts.wantCode(errcode.Unknown, a)
	if strings.Contains(fmt.Sprint(p), "boom") {
		t.Errorf("the panic is told to the client: %v", p)
	}
	ts.want(http.StatusOK, ts.get("/healthz"))
}

// Requests that come in one go are answered in order, each with its own bytes.
func TestPipelinedRequests(t *testing.T) {
	ts := serve(t, Options{})
	ts.fill(1)
	get := "GET /v1/topics/t/partitions/0/records HTTP/1.1\r\nHost: x\r\nAccept: " + mediaNDJSON + "\r\n"
	c := ts.raw(strings.Repeat(get+"\r\n", 3) + get + "Connection: close\r\n\r\n")
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(all, []byte(`"value":"v0"}`)); n != 4 {
		t.Errorf("%d good answers of 4: %s", n, all)
	}
}

func TestOptionsReportEveryFault(t *testing.T) {
	_, err := New(Options{MaxRecords: -1, MaxWait: -1, Admission: budgets(t, admission.MinTotal)}, apitest.NewFake())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{"MaxRecords", "MaxWait", "Admission"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}
