package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/tests/harness"
)

// dial opens a bare connection to the broker, for requests that no HTTP client would send.
func dial(t *testing.T, b *harness.Broker) *net.TCPConn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(deadline(t), "tcp", strings.TrimPrefix(b.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test reads what it needs before
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// write sends bytes; the broker may have hung up already, which its answer then explains.
func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("write: %v", err)
	}
}

// read reads an answer from a bare connection.
func read(t *testing.T, conn net.Conn) answer {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("answer broke off: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, body}
}

const produceHead = "POST /v1/topics/orders/records?partition=0 HTTP/1.1\r\nHost: x\r\nContent-Type: " + typeBatches + "\r\n"

func TestTruncatedUpload(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	c := b.Client(t)
	topic(t, c, "orders", 1)
	body := string(batch(t, record.BuilderOptions{}, "a", "b", "c"))
	// The first batch is whole: a broker that went by what has arrived would write it.
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n", 2*len(body))
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
	cut := refusal{code: errcode.RequestIncomplete, says: []string{"nothing was done"}}
	for name, tc := range map[string]struct {
		sent   string
		fields map[string]any
	}{
		"by Content-Length":    {produceHead + length + body, map[string]any{"received_bytes": len(body), "content_length": 2 * len(body)}},
		"no body at all":       {produceHead + length, nil},
		"chunked":              {produceHead + "Transfer-Encoding: chunked\r\n\r\n" + chunk, nil},
		"within a chunk":       {produceHead + "Transfer-Encoding: chunked\r\n\r\nffff\r\n" + body, nil},
		"within the headers":   {produceHead + "Content-Le", nil},
		"chunk without a size": {produceHead + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body, nil},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, b)
			write(t, conn, tc.sent)
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			p := cut.expect(t, read(t, conn))
			for k, v := range tc.fields {
				if fmt.Sprint(p[k]) != fmt.Sprint(v) {
					t.Errorf("%s is %v instead of %v", k, p[k], v)
				}
			}
			// Someone who hangs up altogether gets no answer, and leaves nothing behind either.
			gone := dial(t, b)
			write(t, gone, tc.sent)
			if err := gone.SetLinger(0); err != nil {
				t.Fatal(err)
			}
			if err := gone.Close(); err != nil {
				t.Fatal(err)
			}
			w.check(t, b)
			if got := rows(t, c, "orders", 0); len(got) != 0 {
				t.Errorf("a part of it was written: %+v", got)
			}
		})
	}
	w.survive(t, b)
}

func TestOversizedBody(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{Args: []string{"--max-body-bytes", "1MiB", "--max-module-bytes", "1MiB", "--max-in-flight-bytes", "4MiB"}})
	w := newWitness(t, b)
	c := b.Client(t)
	topic(t, c, "orders", 1)
	big := bytes.Repeat([]byte{'x'}, 2<<20)
	want := refusal{code: errcode.RecordListTooLarge, says: []string{"at most 1048576 bytes"}}
	t.Run("produce", func(t *testing.T) {
		p := want.expect(t, call(t, b, "POST", "/v1/topics/orders/records", big, "Content-Type", typeBatches))
		if p["max_body_bytes"] != float64(1<<20) {
			t.Errorf("max_body_bytes is %v", p["max_body_bytes"])
		}
	})
	t.Run("module", func(t *testing.T) {
		want.expect(t, call(t, b, "PUT", "/v1/modules/m", big, "Content-Type", typeWasm))
	})
	t.Run("announced only", func(t *testing.T) {
		conn := dial(t, b)
		write(t, conn, produceHead+"Content-Length: 9999999999\r\n\r\nx")
		want.expect(t, read(t, conn))
	})
	t.Run("asked before", func(t *testing.T) {
		conn := dial(t, b)
		write(t, conn, produceHead+"Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n")
		if a := read(t, conn); a.Status != http.StatusContinue {
			t.Fatalf("status %d", a.Status)
		}
		write(t, conn, "x")
		want.expect(t, read(t, conn))
	})
	t.Run("chunked without end", func(t *testing.T) {
		conn := dial(t, b)
		write(t, conn, produceHead+"Transfer-Encoding: chunked\r\n\r\n")
		var sender sync.WaitGroup
		sender.Go(func() {
			chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, big[:64<<10])
			for range 1024 {
				if _, err := io.WriteString(conn, chunk); err != nil {
					return // the broker had enough, as it should
				}
			}
		})
		want.expect(t, read(t, conn))
		_ = conn.Close() // ends the sender
		sender.Wait()
	})
	t.Run("headers", func(t *testing.T) {
		conn := dial(t, b)
		write(t, conn, produceHead+"X-Long: "+strings.Repeat("x", 100_000)+"\r\n\r\n")
		refusal{code: errcode.InvalidRequest, says: []string{"headers", "16384"}}.expect(t, read(t, conn))
	})
	if got := rows(t, c, "orders", 0); len(got) != 0 {
		t.Errorf("a part of it was written: %+v", got)
	}
	w.check(t, b)
	w.survive(t, b)
}

// Clients that send a byte a second take their own time, not that of others, and not for ever.
func TestSlowLoris(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	c := b.Client(t)
	topic(t, c, "orders", 1)
	const each = 100
	inHeaders := "POST /v1/topics/orders/records HTTP/1.1\r\nHost: x\r\nX-Slow: "
	inBody := produceHead + "Content-Length: 1000000\r\n\r\n"
	var slow sync.WaitGroup
	started := time.Now()
	for i := range 2 * each {
		head, says := inHeaders, "headers"
		if i%2 == 1 {
			head, says = inBody, "too slowly"
		}
		conn := dial(t, b)
		slow.Go(func() {
			done := drip(conn, head)
			refusal{code: errcode.RequestIncomplete, says: []string{says}}.expect(t, read(t, conn))
			close(done)
		})
	}
	for range 20 {
		begun := time.Now()
		w.check(t, b)
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("others waited for %v", d)
		}
	}
	slow.Wait()
	if d := time.Since(started); d > 30*time.Second {
		t.Errorf("slow clients were borne for %v", d)
	}
	if got := rows(t, c, "orders", 0); len(got) != 0 {
		t.Errorf("a part was written: %+v", got)
	}
	w.survive(t, b)
}

// drip sends head and then a byte a second until it is told to stop or the broker hangs up.
func drip(conn net.Conn, head string) (stop chan struct{}) {
	stop = make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for rest := head; ; rest = "x" {
			if _, err := io.WriteString(conn, rest); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return stop
}
