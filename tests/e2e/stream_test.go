package e2e

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/tests/harness"
)

// stream is an answer that goes on.
type stream struct {
	resp   *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
}

// follow opens a stream; the test ends it.
func follow(t *testing.T, b *harness.Broker, path, accept string, headers ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{resp, bufio.NewReader(resp.Body), cancel}
	t.Cleanup(s.close)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), accept) {
		t.Fatalf("GET %s: status %d, Content-Type %q", path, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return s
}

// line reads the next line that is not empty.
func (s *stream) line(t *testing.T) string {
	t.Helper()
	for {
		text, err := s.lines.ReadString('\n')
		if text = strings.TrimSpace(text); text != "" {
			return text
		}
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
	}
}

// end reads until the broker ends the stream, which it must do cleanly.
func (s *stream) end(t *testing.T) {
	t.Helper()
	if rest, err := io.ReadAll(s.lines); err != nil {
		t.Errorf("the stream broke off after %q: %v", rest, err)
	}
	s.close()
}

func (s *stream) close() {
	s.cancel()
	_ = s.resp.Body.Close() // whatever was not read is of no interest
}
