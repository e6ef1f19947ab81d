package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

// A produce that is in the broker when the shutdown begins is answered.
func TestShutdownAnswersWhatItAccepted(t *testing.T) {
	ts := serve(t, Options{})
	entered, leave := make(chan struct{}), make(chan struct{})
	ts.fake.OnProduce = func(ctx context.Context) error {
		close(entered)
		<-leave
		return ctx.Err()
	}
	got := make(chan answer, 1)
	go func() { got <- ts.post("/v1/topics/t/records", mediaJSON, `{"records":[{"key":"a"}]}`) }()
	<-entered
	// A connection that is open but idle, to be used in the middle of the shutdown.
	open := ts.raw("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	ts.want(http.StatusOK, ts.readAnswer(open))

	done := make(chan error, 1)
	go func() { done <- ts.server.Shutdown(context.Background()) }()
	<-ts.server.polls.Done()
	select {
	case err := <-done:
		t.Fatalf("shutdown ended before the request was answered: %v", err)
	default:
	}
	close(leave)
	a := ts.want(http.StatusOK, <-got)
	if a.Header.Get("Connection") != "close" && !a.Close {
		t.Error("the answer does not close the connection")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := ts.appended(); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	if _, err := net.Dial("tcp", ts.addr); err == nil {
		t.Error("the server still accepts")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.server.Serve(ln); !errcode.Is(err, errcode.ShuttingDown) {
		t.Errorf("serve after shutdown: %v", err)
	}
}

// A long poll ends at once with what it has.
func TestShutdownEndsLongPolls(t *testing.T) {
	ts := serve(t, Options{})
	waiting := make(chan struct{})
	ts.fake.OnFetch = func() { close(waiting) }
	got := make(chan answer, 1)
	go func() { got <- ts.get("/v1/topics/t/partitions/0/records?wait=60s", "Accept", mediaBatches) }()
	<-waiting
	started := time.Now()
	ts.shutdown()
	a := ts.want(http.StatusOK, <-got)
	if a.Header.Get(headerNextOffset) != "0" || time.Since(started) > testTimeout/2 {
		t.Errorf("next offset %q after %v", a.Header.Get(headerNextOffset), time.Since(started))
	}
}

// While the server drains, new requests are sent away, and it says that it is not ready.
func TestRequestsWhileDraining(t *testing.T) {
	ts := serve(t, Options{})
	ts.server.draining.Store(true)
	a := ts.post("/v1/topics/t/records", mediaJSON, `{"records":[{}]}`)
	ts.wantCode(errcode.ShuttingDown, a)
	ts.wantCode(errcode.ShuttingDown, ts.get("/readyz"))
	ts.want(http.StatusOK, ts.get("/healthz"))
}

// When patience ends, the broker's calls are cancelled and connections closed.
func TestImpatientShutdown(t *testing.T) {
	ts := serve(t, Options{})
	entered := make(chan struct{})
	left := make(chan error, 1)
	ts.fake.OnProduce = func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return ctx.Err()
	}
	c := ts.raw(produceHead + "Content-Length: 16\r\n\r\n{\"records\":[{}]}")
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := ts.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the broker's call ended with %v", err)
	}
	// The connection is closed by one side or the other: nothing is left to wait for.
	_, _ = io.ReadAll(c)
}

func TestReady(t *testing.T) {
	ts := serve(t, Options{})
	ts.want(http.StatusOK, ts.get("/readyz"))
	ts.fake.NotReady = errors.New("recovering orders/3")
	ts.wantCode(errcode.ShuttingDown, ts.get("/readyz"))
	ts.fake.NotReady = errcode.New(errcode.StorageFailed, "orders/3 failed")
	ts.wantCode(errcode.StorageFailed, ts.get("/readyz"))
	ts.want(http.StatusOK, ts.get("/healthz"))
}
