package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/httpapi"
)

var update = flag.Bool("update", false, "write the golden files anew")

// server is the address of the one broker that the tests of this package share. Each uses topics of
// its own.
var server string

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := withBroker(m.Run)
	if err == nil && code == 0 {
		// fasthttp keeps one clock for the process, and its pool's sweeper sleeps before it ends.
		err = goleak.Find(goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// withBroker runs f while a broker serves.
func withBroker(f func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "wasmill-cli-test-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logger := slog.New(slog.DiscardHandler)
	ctx := context.Background()
	b, err := broker.Open(ctx, broker.Options{DataDir: filepath.ToSlash(dir), Logger: logger, Version: "test"})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, b.Close(ctx)) }()
	s, err := httpapi.New(httpapi.Options{Logger: logger}, b)
	if err != nil {
		return 1, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1, err
	}
	server = "http://" + ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	code = f()
	return code, errors.Join(s.Shutdown(ctx), <-served)
}

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// at runs a command line against a server, as a script would.
func at(t *testing.T, server, stdin string, args ...string) result {
	t.Helper()
	return invocation{server: server, in: strings.NewReader(stdin)}.run(t, t.Context(), args...)
}

// invocation is a command line's surroundings.
type invocation struct {
	server string
	in     io.Reader
	tee    io.Writer // gets the output too; nil for none
}

func (v invocation) run(t *testing.T, ctx context.Context, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	w := io.Writer(&out)
	if v.tee != nil {
		w = io.MultiWriter(&out, v.tee)
	}
	env := map[string]string{"WASMILL_SERVER": v.server}
	code := Run(ctx, Streams{In: v.in, Out: w, Err: &errs, Getenv: func(k string) string { return env[k] }}, "v1.2.3", args, nil)
	return result{code, out.String(), errs.String()}
}

// must runs a command against the broker and fails the test unless it succeeds; it returns the output.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := at(t, server, stdin, args...)
	if r.code != ExitOK {
		t.Fatalf("wasmill %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// golden compares with a file in testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run the test with -update when that is meant):\n--- got\n%s\n--- want\n%s", file, got, want)
	}
}
