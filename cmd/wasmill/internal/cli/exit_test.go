package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

func TestExitCodes(t *testing.T) {
	refusal := func(code errcode.Code) error {
		info := code.Info()
		return fmt.Errorf("op: %w", &client.Error{Code: code, Name: info.Name, Status: info.HTTPStatus, Retriable: info.Retriable})
	}
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK},
		{errors.New("x"), ExitFailure},
		{&usageError{err: errors.New("x")}, ExitUsage},
		{fmt.Errorf("a: %w", os.ErrNotExist), ExitNotFound},
		{refusal(errcode.UnknownTopicOrPartition), ExitNotFound},
		{refusal(errcode.UnknownModule), ExitNotFound},
		{refusal(errcode.InvalidTopic), ExitRefused},
		{refusal(errcode.TopicAlreadyExists), ExitRefused},
		{refusal(errcode.InvalidModule), ExitRefused},
		{refusal(errcode.OffsetOutOfRange), ExitRefused},
		{refusal(errcode.Overloaded), ExitUnavailable},
		{refusal(errcode.DiskFull), ExitUnavailable},
		{refusal(errcode.StorageFailed), ExitUnavailable},
		{refusal(errcode.RequestTimedOut), ExitUnavailable},
		{refusal(errcode.Unknown), ExitFailure},
		{refusal(errcode.InvalidRecord), ExitRejected},
		{&client.Error{Code: errcode.UnknownTopicOrPartition}, ExitNotFound}, // inside of an answer: no status
		{fmt.Errorf("%w: 3", ErrRejected), ExitRejected},
		{&client.ConnError{Err: errors.New("refused")}, ExitUnavailable},
		{context.DeadlineExceeded, ExitUnavailable},
		{errors.Join(nil, hinted{error: refusal(errcode.UnknownView), hint: "h"}), ExitNotFound},
		{ErrDamaged, ExitFailure},
	} {
		if got := ExitCode(tc.err); got != tc.want {
			t.Errorf("%v: exit %d, want %d", tc.err, got, tc.want)
		}
	}
}

// Every code of the error table has an exit code that follows from what it means.
func TestEveryErrorCodeHasItsExitCode(t *testing.T) {
	for _, info := range errcode.Table() {
		got := ExitCode(&client.Error{Code: info.Code, Status: info.HTTPStatus, Retriable: info.Retriable})
		switch {
		case info.Retriable && got != ExitUnavailable,
			info.HTTPStatus == 404 && got != ExitNotFound,
			!info.Retriable && info.HTTPStatus/100 == 4 && info.HTTPStatus != 404 && got != ExitRefused && got != ExitRejected:
			t.Errorf("%s: exit %d", info.Name, got)
		}
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + ln.Addr().String()
	ln.Close()
	block := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block }))
	defer silent.Close()
	defer close(block)
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer foreign.Close()

	for _, tc := range []struct {
		name, server, stdin, args string
		code                      int
		want                      string
	}{
		{"no broker", closed, "", "topic list", ExitUnavailable, "wasmill serve"},
		{"no answer", silent.URL, "", "topic list --timeout 10ms", ExitUnavailable, "--timeout"},
		{"not a broker", foreign.URL, "", "topic list", ExitFailure, "Is this a Wasmill broker"},
		{"bad address", "ftp://x", "", "topic list", ExitUsage, "WASMILL_SERVER"},
		{"no such topic", server, "", "consume nowhere", ExitNotFound, "topic create"},
		{"produce to no topic", server, "x\n", "produce nowhere", ExitNotFound, "topic create"},
		{"bad topic name", server, "", "topic create a/b", ExitRefused, "INVALID_TOPIC"},
		{"unknown config", server, "", "topic create exit-a -c nonsense=1", ExitRefused, "nonsense"},
		{"unknown flag", server, "", "topic create a --nope", ExitUsage, "topic create --help"},
		{"bad flag value", server, "", "topic create a -p many", ExitUsage, "many"},
		{"too many arguments", server, "", "topic describe a b", ExitUsage, `unexpected argument "b"`},
		{"nothing to alter", server, "", "topic alter a", ExitUsage, "--partitions"},
		{"bad pair", server, "", "topic create a -c x", ExitUsage, "KEY=VALUE"},
		{"bad format", server, "", "consume a --format xml", ExitUsage, "one of value"},
		{"bad produce format", server, "", "produce a --format xml", ExitUsage, "one of lines"},
		{"bad codec", server, "", "produce a --compression zip", ExitUsage, "zstd"},
		{"bad start", server, "", "consume a --from soon -p 0", ExitUsage, "earliest"},
		{"two starts", server, "", "consume a --from latest -o 1", ExitUsage, "exclude"},
		{"two ends", server, "", "consume a --follow --until-end", ExitUsage, "exclude"},
		{"missing input", server, "", "produce a -f /does/not/exist", ExitUsage, "no such file"},
		{"no stages", server, "", "pipeline set a", ExitUsage, "--stage"},
		{"bad stage", server, "", "pipeline set a -s m,bogus=1", ExitUsage, "bogus"},
		{"bad stage config", server, "", "pipeline set a -s m,config={", ExitUsage, "not JSON"},
		{"missing module", server, "", "module push /does/not/exist.wasm", ExitUsage, "plugin new"},
		{"bad version", server, "", "module get m@x", ExitUsage, "version"},
		{"view without topic", server, "", "view create v -s m", ExitUsage, "--topic"},
		{"unknown language", server, "", "plugin new p --lang cobol", ExitUsage, "cobol"},
		{"no such log", server, "", "log dump t/0 --data /does/not/exist", ExitNotFound, "--data"},
		{"not a log", server, "", "log dump t", ExitUsage, "TOPIC/PARTITION"},
		{"bad mode", server, "", "bench --mode x", ExitUsage, "produce, fetch, both"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := at(t, tc.server, tc.stdin, strings.Fields(tc.args)...)
			if r.code != tc.code || !strings.Contains(r.err, tc.want) || r.out != "" {
				t.Errorf("exit %d, want %d with %q:\n%s%s", r.code, tc.code, tc.want, r.out, r.err)
			}
			r = at(t, tc.server, tc.stdin, append(strings.Fields(tc.args), "--json")...)
			if r.code != tc.code || !strings.HasPrefix(r.err, `{"error":{"exit_code":`) && !strings.Contains(r.err, "\n{\"error\"") {
				t.Errorf("with --json: exit %d\n%s", r.code, r.err)
			}
		})
	}
}

// headerOnly is the header of a record batch that says that 39 bytes follow it.
var headerOnly = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x58\x00\x00\x00\x00\x02" + strings.Repeat("\x00", 44)

// Bad input says where it is bad, and what came before it is delivered.
func TestBadInputNamesItsPlace(t *testing.T) {
	name := topic(t)
	for _, tc := range []struct{ stdin, args, want string }{
		{"k:v\nnothing\n", "--key-separator :", "line 2 has no key separator"},
		{`{"value":1}` + "\n{\n", "--format ndjson", "line 2: not a record"},
		{`{"valeu":1}` + "\n", "--format ndjson", `unknown field "valeu"`},
		{`{"value":1} {}` + "\n", "--format ndjson", "something follows"},
		{`{"value":1,"partition":-4}` + "\n", "--format ndjson", "negative"},
		{`{"value":1,"value_b64":"AA=="}` + "\n", "--format ndjson", "both given"},
		{`{"value_b64":"?"}` + "\n", "--format ndjson", "value_b64"},
		{`{"timestamp":"soon"}` + "\n", "--format ndjson", "timestamp"},
		{`{"headers":3}` + "\n", "--format ndjson", "headers"},
		{`{"value":1,"partition":7}` + "\n", "--format ndjson", "partitions 0 to 0"},
		{`[{"value":1}, oops]`, "--format json", "JSON at byte"},
		{`[{"value":1}`, "--format json", "unexpected EOF"},
		{`{"recs":[]}`, "--format json", "neither an array"},
		{`3`, "--format json", "neither an array"},
		{"short\n" + strings.Repeat("x", 100) + "\n", "--max-record-bytes 50", "line 2 is longer than 50 bytes"},
		{strings.Repeat("x", 100), "--format raw --max-record-bytes 50", "longer than 50 bytes"},
		{"not batches at all, though long enough to hold the header of one", "--format batches", "batch 1: not a record batch"},
		{"short", "--format batches", "its header is cut short"},
		{headerOnly, "--format batches", "batch 1: cut short"},
	} {
		t.Run(tc.want, func(t *testing.T) {
			r := at(t, server, tc.stdin, append([]string{"produce", name}, strings.Fields(tc.args)...)...)
			if r.code != ExitFailure || !strings.Contains(r.err, tc.want) {
				t.Errorf("exit %d, want %q in:\n%s", r.code, tc.want, r.err)
			}
		})
	}
	got := must(t, "", "consume", name, "--json", "-n", "1")
	if !strings.Contains(got, `"value":"v"`) {
		t.Errorf("the record before the fault is %s", got)
	}
}

func TestNothingToShowInColour(t *testing.T) {
	a := &app{Streams: Streams{Getenv: func(string) string { return "" }}}
	if a.colored(&strings.Builder{}) {
		t.Error("colours into a buffer")
	}
}
