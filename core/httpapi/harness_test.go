package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/httpapi/apitest"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's own, without a way to stop them: the clock for the Date header runs as long as
		// the process, a worker pool's cleaner notices after ten seconds that its server has ended.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		// The benchmarks' client, likewise.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
	)
}

// testTimeout is far beyond what any step of a test takes.
const testTimeout = 20 * time.Second

// testServer is a server over a model broker on a loopback socket.
type testServer struct {
	t      *testing.T
	fake   *apitest.Fake
	server *Server
	addr   string
	client *http.Client
	served chan error
}

// serve starts a server with topic "t" of two partitions. It is shut down when the test ends, and
// then no fetched answer may be left over.
func serve(t *testing.T, o Options) *testServer {
	t.Helper()
	m := apitest.NewFake()
	t.Cleanup(func() {
		if n := m.Lent.Load(); n != 0 {
			t.Errorf("%d fetched answers were never released", n)
		}
	})
	if o.Admission == nil {
		o.Admission = admission.Default()
	}
	m.Admission = o.Admission
	ts := serveBroker(t, o, m)
	ts.fake = m
	ts.want(http.StatusCreated, ts.post("/v1/topics", mediaJSON, `{"name":"t","partitions":2}`))
	return ts
}

// serveBroker starts a server over any broker. Of the memory that they share nothing may be held when the
// test ends.
func serveBroker(t *testing.T, o Options, b Broker) *testServer {
	t.Helper()
	s, err := New(o, b)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{t: t, server: s, addr: ln.Addr().String(), served: make(chan error, 1)}
	// Every answer of every test must be one that the API document describes.
	transport := &http.Transport{DisableCompression: true}
	ts.client = &http.Client{Transport: conforming{t, transport}, Timeout: testTimeout}
	go func() { ts.served <- s.Serve(ln) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ts.shutdown()
		for _, u := range o.Admission.Usage() {
			if u.InUse != 0 {
				t.Errorf("%d bytes of the budget for %s were not given back", u.InUse, u.Budget)
			}
		}
	})
	return ts
}

func (ts *testServer) shutdown() {
	ts.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := ts.server.Shutdown(ctx); err != nil {
		ts.t.Errorf("shutdown: %v", err)
	}
	if ts.served != nil {
		if err := <-ts.served; err != nil {
			ts.t.Errorf("serve: %v", err)
		}
		ts.served = nil
	}
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body []byte
}

// do sends a request; header pairs follow the body.
func (ts *testServer) do(method, path string, body io.Reader, header ...string) answer {
	ts.t.Helper()
	req, err := http.NewRequest(method, "http://"+ts.addr+path, body)
	if err != nil {
		ts.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := ts.client.Do(req)
	if err != nil {
		ts.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		ts.t.Fatalf("%s %s: read answer: %v", method, path, err)
	}
	return answer{resp, b}
}

func (ts *testServer) get(path string, header ...string) answer {
	ts.t.Helper()
	return ts.do("GET", path, nil, header...)
}

func (ts *testServer) post(path, contentType, body string, header ...string) answer {
	ts.t.Helper()
	return ts.do("POST", path, strings.NewReader(body), append([]string{"Content-Type", contentType}, header...)...)
}

// want checks the status and hands the answer on.
func (ts *testServer) want(status int, a answer) answer {
	ts.t.Helper()
	if a.StatusCode != status {
		ts.t.Fatalf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
	}
	return a
}

// wantCode checks that the answer is problem details with the code, and gives its members.
func (ts *testServer) wantCode(code errcode.Code, a answer) map[string]any {
	ts.t.Helper()
	if got := a.Header.Get("Content-Type"); got != errcode.ProblemContentType {
		ts.t.Fatalf("Content-Type %q, want %q: %s", got, errcode.ProblemContentType, a.body)
	}
	var p map[string]any
	if err := json.Unmarshal(a.body, &p); err != nil {
		ts.t.Fatalf("problem: %v: %s", err, a.body)
	}
	if p["code"] != float64(code) || a.StatusCode != code.Info().HTTPStatus {
		ts.t.Fatalf("status %d, want %s: %s", a.StatusCode, code, a.body)
	}
	if p["detail"] == "" {
		ts.t.Errorf("%s comes without a detail", code)
	}
	return p
}

// object decodes a JSON answer.
func (ts *testServer) object(a answer) map[string]any {
	ts.t.Helper()
	var v map[string]any
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		ts.t.Fatalf("answer: %v: %s", err, a.body)
	}
	return v
}

// batch makes a record batch of values v0, v1 ...
func batch(t testing.TB, n int) []byte {
	t.Helper()
	return recordtest.Build(t, record.BuilderOptions{}, recordtest.At(apitest.Time.UnixMilli(), recordtest.Numbered(n))...)
}

// dial opens a raw connection.
func (ts *testServer) dial() *net.TCPConn {
	ts.t.Helper()
	c, err := net.Dial("tcp", ts.addr)
	if err != nil {
		ts.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(testTimeout)); err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// raw sends bytes as they are on a connection of their own.
func (ts *testServer) raw(request string) *net.TCPConn {
	ts.t.Helper()
	c := ts.dial()
	if _, err := io.WriteString(c, request); err != nil {
		ts.t.Fatal(err)
	}
	return c
}

// readAnswer reads one response from a raw connection.
func (ts *testServer) readAnswer(c net.Conn) answer {
	ts.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		ts.t.Fatalf("read answer: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		ts.t.Fatalf("read answer: %v", err)
	}
	return answer{resp, b}
}
