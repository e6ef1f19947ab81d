package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

// stream is a followed answer that is read line by line.
type stream struct {
	t      *testing.T
	resp   *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func (ts *testServer) follow(path string, header ...string) *stream {
	ts.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+ts.addr+path, nil)
	if err != nil {
		ts.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := ts.client.Do(req)
	if err != nil {
		ts.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		ts.t.Fatalf("status %d", resp.StatusCode)
	}
	s := &stream{ts.t, resp, bufio.NewScanner(resp.Body), cancel}
	ts.t.Cleanup(s.close)
	return s
}

func (s *stream) close() {
	s.cancel()
	s.resp.Body.Close()
}

// next is the next line that is not empty.
func (s *stream) next() string {
	s.t.Helper()
	for s.lines.Scan() {
		if line := s.lines.Text(); line != "" {
			return line
		}
	}
	return ""
}

func (s *stream) expect(prefixes ...string) {
	s.t.Helper()
	for _, p := range prefixes {
		if got := s.next(); !strings.HasPrefix(got, p) {
			s.t.Fatalf("line %q, want one that begins with %q", got, p)
		}
	}
}

func TestEventStream(t *testing.T) {
	ts := serve(t, Options{KeepAlive: 30 * time.Millisecond})
	ts.fill(2)
	s := ts.follow("/v1/topics/t/partitions/0/records?offset=1", "Accept", mediaSSE)
	if got := s.resp.Header.Get(headerNextOffset); got != "1" {
		t.Errorf("the stream begins at %s", got)
	}
	s.expect("retry: 1000", "id: 0:1", `data: {"partition":0,"offset":1,`, ": keep-alive")
	ts.fill(1)
	for line := s.next(); ; line = s.next() {
		if line == "id: 0:2" {
			break
		}
		if line != ": keep-alive" {
			t.Fatalf("line %q", line)
		}
	}
	s.expect(`data: {"partition":0,"offset":2,`)

	resumed := ts.follow("/v1/topics/t/partitions/0/records?offset=earliest", "Accept", mediaSSE, "Last-Event-ID", "0:1")
	resumed.expect("retry: 1000", "id: 0:2")
	ts.wantCode(errcode.InvalidRequest, ts.get("/v1/topics/t/partitions/0/records", "Accept", mediaSSE, "Last-Event-ID", "1:1"))
	ts.wantCode(errcode.InvalidRequest, ts.get("/v1/topics/t/partitions/0/records", "Accept", mediaSSE, "Last-Event-ID", "x"))
	ts.wantCode(errcode.OffsetOutOfRange, ts.get("/v1/topics/t/partitions/0/records?offset=50", "Accept", mediaSSE))
}

// An event stream that is told not to follow ends where the records end.
func TestEventsWithoutFollowing(t *testing.T) {
	ts := serve(t, Options{})
	ts.fill(2)
	a := ts.want(http.StatusOK, ts.get("/v1/topics/t/partitions/0/records?follow=false", "Accept", mediaSSE))
	if got := strings.Count(string(a.body), "data: {"); got != 2 {
		t.Errorf("%d events: %s", got, a.body)
	}
	if !strings.HasPrefix(string(a.body), "id: 0:0\ndata: {") {
		t.Errorf("not an event: %s", a.body)
	}
}

func TestFollowNDJSON(t *testing.T) {
	ts := serve(t, Options{})
	s := ts.follow("/v1/topics/t/partitions/0/records?follow=true&offset=latest")
	if got := s.resp.Header.Get("Content-Type"); got != mediaNDJSON {
		t.Errorf("Content-Type %s", got)
	}
	for i := range 3 {
		ts.fill(1)
		s.expect(fmt.Sprintf(`{"partition":0,"offset":%d,`, i))
	}
}

// A stream ends at shutdown: event streams say why.
func TestStreamsEndAtShutdown(t *testing.T) {
	ts := serve(t, Options{})
	ts.fill(1)
	events := ts.follow("/v1/topics/t/partitions/0/records", "Accept", mediaSSE)
	lines := ts.follow("/v1/topics/t/partitions/0/records?follow")
	events.expect("retry: 1000", "id: 0:0", "data: {")
	lines.expect(`{"partition":0,"offset":0,`)
	ts.shutdown()
	events.expect("event: error", `data: {"type":`)
	if got := events.next() + lines.next(); got != "" {
		t.Errorf("after the end came %q", got)
	}
}

// A client that goes away ends its stream without waiting for the next record or comment.
func TestStreamEndsWithClient(t *testing.T) {
	ts := serve(t, Options{KeepAlive: time.Hour})
	ended := make(chan struct{})
	ts.server.opts.Observer = observerFunc(func(r *Request) {
		if r.Status == http.StatusOK && strings.HasSuffix(r.Route, "/{partition}/records") {
			close(ended)
		}
	})
	s := ts.follow("/v1/topics/t/partitions/0/records", "Accept", mediaSSE)
	s.expect("retry: 1000")
	s.close()
	select {
	case <-ended:
	case <-time.After(testTimeout):
		t.Fatal("the stream goes on without its client")
	}
}

// An error in the middle of a stream ends it with an event that tells it.
func TestErrorInStream(t *testing.T) {
	ts := serve(t, Options{KeepAlive: 20 * time.Millisecond})
	ts.fill(1)
	s := ts.follow("/v1/topics/t/partitions/0/records", "Accept", mediaSSE)
	s.expect("retry: 1000", "id: 0:0", "data: {")
	ts.want(http.StatusNoContent, ts.do("DELETE", "/v1/topics/t", nil))
	for line := s.next(); ; line = s.next() {
		if line == "event: error" {
			break
		}
		if line != ": keep-alive" {
			t.Fatalf("line %q", line)
		}
	}
	if line := s.next(); !strings.Contains(line, "UNKNOWN_TOPIC_OR_PARTITION") {
		t.Errorf("the error is told as %s", line)
	}
}
