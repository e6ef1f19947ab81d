package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

func TestServerAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"":                       DefaultServer,
		"localhost:1":            "http://localhost:1",
		"http://h:1/":            "http://h:1",
		"https://h":              "https://h",
		"http://[::1]:8640":      "http://[::1]:8640",
		"http://u:p@h":           "",
		"http://h/path":          "",
		"http://h?x=1":           "",
		"ftp://h":                "",
		"http://":                "",
		"http://h:port":          "",
		"h:1\r\nHost: elsewhere": "",
	} {
		c, err := New(Options{Server: in})
		switch {
		case want == "" && !errors.Is(err, ErrServerAddress):
			t.Errorf("%q: %v", in, err)
		case want != "" && (err != nil || c.Server() != want):
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestProblemsBecomeErrors(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		problem(w, errcode.New(errcode.OffsetOutOfRange, "offset 9 is past the end").With("high_watermark", 5))
	}))
	_, err := c.Topic(t.Context(), "t")
	var e *Error
	var end int
	if !errors.As(err, &e) || e.Code != errcode.OffsetOutOfRange || e.Name != "OFFSET_OUT_OF_RANGE" || e.Status != 416 ||
		e.Retriable || e.RetryAfter != 7*time.Second || !e.Field("high_watermark", &end) || end != 5 {
		t.Fatalf("%+v", err)
	}
	if want := "describe topic t: OFFSET_OUT_OF_RANGE: offset 9 is past the end"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	b, err := e.MarshalJSON()
	var again Error
	if err != nil || again.UnmarshalJSON(b) != nil || again.Error() != e.Error() || len(again.Fields) != 1 {
		t.Errorf("%s reads back as %+v, %v", b, again, err)
	}
}

func TestForeignAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, contentType, body string
		status                  int
		check                   func(error) bool
		want                    string
	}{
		{"proxy page", "text/html", "<h1>Bad\x07 Gateway</h1>\n", 502, isHTTP(502, true), "<h1>Bad Gateway</h1>"},
		{"JSON that is no problem", "application/json", `{"message":"x"}`, 404, isHTTP(404, false), "message"},
		{"empty refusal", "", "", 403, isHTTP(403, false), "no text"},
		{"not JSON", "application/json", "hello", 200, isBadAnswer, "invalid character"},
		{"wrong JSON", "application/json", `{"partitions":"many"}`, 200, isBadAnswer, "partitions"},
		{"redirect", "", "", 302, isHTTP(302, false), "302"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.contentType)
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			}))
			_, err := c.Topic(t.Context(), "t")
			if !tc.check(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q in it", err, tc.want)
			}
		})
	}
}

func isBadAnswer(err error) bool { return errors.Is(err, ErrBadAnswer) }

func isHTTP(status int, retriable bool) func(error) bool {
	return func(err error) bool {
		var e *Error
		return errors.As(err, &e) && e.Status == status && e.Retriable == retriable && e.Code == errcode.Unknown
	}
}

func TestAnswersAreBounded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "lying") {
			w.Header().Set("Content-Length", "1000000000000")
		}
		_, _ = w.Write(make([]byte, 1<<20))
	}))
	defer s.Close()
	c, err := New(Options{Server: s.URL, MaxResponseBytes: 1 << 16, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"long", "lying"} {
		if _, err := c.Topic(t.Context(), name); !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRetries(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail func(http.ResponseWriter)
		call func(context.Context, *Client) error
		want int // attempts
	}{
		{"a read after a lost answer", hangUp, describe, 3},
		{"a read while busy", refuse(errcode.Overloaded), describe, 3},
		{"a read that timed out", refuse(errcode.RequestTimedOut), describe, 3},
		{"a read that is refused", refuse(errcode.InvalidTopic), describe, 1},
		{"a write after a lost answer", hangUp, create, 1},
		{"a write while busy", refuse(errcode.Overloaded), create, 3},
		{"a write over its quota", refuse(errcode.ThrottlingQuotaExceeded), create, 3},
		{"a write that timed out", refuse(errcode.RequestTimedOut), create, 1},
		{"a write without leader", refuse(errcode.NotLeaderOrFollower), create, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var n atomic.Int32
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if n.Add(1) < 3 {
					tc.fail(w)
					return
				}
				answer(w, 200, Topic{Name: "t"})
			}))
			err := tc.call(t.Context(), c)
			if int(n.Load()) != tc.want || (err == nil) != (tc.want == 3) {
				t.Errorf("%d attempts, want %d; %v", n.Load(), tc.want, err)
			}
		})
	}
}

func refuse(code errcode.Code) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { problem(w, errcode.New(code, "no")) }
}

func describe(ctx context.Context, c *Client) error {
	_, err := c.Topic(ctx, "t")
	return err
}

func create(ctx context.Context, c *Client) error {
	_, err := c.CreateTopic(ctx, TopicSpec{Name: "t"})
	return err
}

func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	c, err := New(Options{Server: address, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var ce *ConnError
	if err := create(t.Context(), c); !errors.As(err, &ce) || ce.Sent || !strings.Contains(err.Error(), "cannot reach http://"+address) {
		t.Errorf("%v", err)
	}
}

// A cancelled call returns at once, leaves no goroutine (see TestMain) and no connection that would
// give its late answer to the next call.
func TestCancelledCalls(t *testing.T) {
	arrived := make(chan struct{})
	release := make(chan struct{})
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "slow") {
			close(arrived)
			<-release
		}
		answer(w, 200, Topic{Name: r.URL.Path})
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Topic(ctx, "slow")
		done <- err
	}()
	<-arrived
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(release)
	topic, err := c.Topic(t.Context(), "quick")
	if err != nil || topic.Name != "/v1/topics/quick" {
		t.Errorf("the next call got %+v, %v", topic, err)
	}
}

func TestTimeoutOfOneAttempt(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	c, err := New(Options{Server: s.URL, Timeout: 20 * time.Millisecond, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := describe(t.Context(), c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.RemoteAddr] = true
		mu.Unlock()
		answer(w, 200, Topic{})
	}))
	for range 20 {
		if err := describe(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 1 {
		t.Errorf("20 calls took %d connections", len(seen))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := describe(t.Context(), c); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Names go into the path as one segment whatever is in them.
func TestNamesAreEscaped(t *testing.T) {
	for _, name := range []string{"a/b", "..", ".", "a b", "ü", "%2F", "a?b#c", "a\r\nX: y"} {
		got := make(chan string, 1)
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got <- r.URL.Path
			answer(w, 200, Topic{})
		}))
		if _, err := c.Topic(t.Context(), name); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if path := <-got; path != "/v1/topics/"+name {
			t.Errorf("%q arrives as %q", name, path)
		}
	}
}

// Every call goes where the API has it.
func TestCallsGoToTheirEndpoints(t *testing.T) {
	var got string
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Content-Type") + " " + r.Header.Get("Accept")
		answer(w, 200, map[string]any{})
	}))
	ctx := t.Context()
	ok := func(_ any, err error) error { return err }
	for _, tc := range []struct {
		want string
		err  func() error
	}{
		{"GET /v1/topics  application/json", func() error { return ok(c.Topics(ctx)) }},
		{"PATCH /v1/topics/t application/json application/json", func() error { return ok(c.AlterTopic(ctx, "t", TopicChange{})) }},
		{"DELETE /v1/topics/t  ", func() error { return c.DeleteTopic(ctx, "t") }},
		{"POST /v1/topics/t/records application/json application/json", func() error { return ok(c.ProduceRecords(ctx, "t", nil)) }},
		{"POST /v1/topics/t/records?partition=2 application/x-ndjson application/json", func() error { return ok(c.ProduceNDJSON(ctx, "t", 2, nil)) }},
		{"POST /v1/topics/t/records?partition=0 text/plain application/json", func() error {
			return ok(c.ProduceValue(ctx, "t", Value{ContentType: "text/plain", Value: []byte("v")}))
		}},
		{"PUT /v1/modules/m application/wasm application/json", func() error { return ok(c.PutModule(ctx, "m", []byte{0})) }},
		{"GET /v1/modules/m?version=2  application/json", func() error { return ok(c.Module(ctx, "m", 2)) }},
		{"GET /v1/modules/m  application/wasm", func() error { return ok(c.ModuleBytes(ctx, "m", 0)) }},
		{"GET /v1/modules/m/versions  application/json", func() error { return ok(c.ModuleVersions(ctx, "m")) }},
		{"GET /v1/modules  application/json", func() error { return ok(c.Modules(ctx)) }},
		{"DELETE /v1/modules/m?version=3  ", func() error { return c.DeleteModule(ctx, "m", 3) }},
		{"POST /v1/modules/m/dry-run application/json application/json", func() error { return ok(c.DryRunModule(ctx, "m", 0, DryRun{})) }},
		{"PUT /v1/topics/t/pipeline application/json application/json", func() error { return ok(c.SetPipeline(ctx, "t", nil)) }},
		{"GET /v1/topics/t/pipeline  application/json", func() error { return ok(c.Pipeline(ctx, "t")) }},
		{"DELETE /v1/topics/t/pipeline  ", func() error { return c.DeletePipeline(ctx, "t") }},
		{"PUT /v1/views/v application/json application/json", func() error { return ok(c.PutView(ctx, "v", "t", nil)) }},
		{"GET /v1/views  application/json", func() error { return ok(c.Views(ctx)) }},
		{"DELETE /v1/views/v  ", func() error { return c.DeleteView(ctx, "v") }},
		{"PUT /v1/derivations/d application/json application/json", func() error { return ok(c.PutDerivation(ctx, "d", DerivationSpec{})) }},
		{"GET /v1/derivations  application/json", func() error { return ok(c.Derivations(ctx)) }},
		{"GET /v1/derivations/d  application/json", func() error { return ok(c.Derivation(ctx, "d")) }},
		{"DELETE /v1/derivations/d  ", func() error { return c.DeleteDerivation(ctx, "d") }},
		{"POST /v1/producers  application/json", func() error { return ok(c.AllocateProducerID(ctx)) }},
		{"GET /v1/cluster  application/json", func() error { return ok(c.Cluster(ctx)) }},
		{"GET /v1/brokers  application/json", func() error { return ok(c.Brokers(ctx)) }},
		{"GET /healthz  ", func() error { return c.Healthy(ctx) }},
		{"GET /readyz  ", func() error { return c.Ready(ctx) }},
		{"GET /metrics  ", func() error { return ok(c.Metrics(ctx)) }},
		{"GET /openapi.json  ", func() error { return ok(c.OpenAPI(ctx)) }},
	} {
		if err := tc.err(); err != nil || got != tc.want {
			t.Errorf("%q, want %q; %v", got, tc.want, err)
		}
	}
}

func TestJSONRecordsKeepTheirBytes(t *testing.T) {
	for _, tc := range []struct {
		key, value []byte
		want       string
	}{
		{nil, nil, `{}`},
		{[]byte("k"), []byte(`{"a": 1}`), `{"key":"k","value":"{\"a\": 1}"}`},
		{[]byte{}, []byte{0xff}, `{"key":"","value_b64":"/w=="}`},
	} {
		r := NewJSONRecord(tc.key, tc.value)
		b, err := jsonLine(r)
		if err != nil || b != tc.want {
			t.Errorf("%s, %v; want %s", b, err, tc.want)
		}
	}
}
