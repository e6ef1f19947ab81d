package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wasmill/wasmill/wasm/wasmtest"
)

var topics atomic.Int32 // made so far

// topic makes a topic of its own for a test, also when the test is run again.
func topic(t *testing.T, args ...string) string {
	t.Helper()
	name := fmt.Sprintf("%s-%d", strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())), topics.Add(1))
	must(t, "", append([]string{"topic", "create", name}, args...)...)
	return name
}

// pushCommands uploads a module that does what the first byte of a value says.
func pushCommands(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "commands.wasm")
	if err := os.WriteFile(file, wasmtest.Commands(0), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "", "module", "push", file)
}

func TestProduceAndConsume(t *testing.T) {
	for _, tc := range []struct {
		name, stdin string
		produce     []string
		consume     []string
		want        string
	}{
		{"lines", "a\nb\r\n\nc", nil, nil, "a\nb\n\nc\n"},
		{"keys", "k:v:w\n:x\n", []string{"--key-separator", ":"}, []string{"--format", "kv"}, "k\tv:w\n\tx\n"},
		{"one key", "a\nb\n", []string{"--key", "k"}, []string{"--format", "kv"}, "k\ta\nk\tb\n"},
		{"raw", "a\nb\x00\xff", []string{"--format", "raw"}, []string{"--format", "raw"}, "a\nb\x00\xff"},
		{"compressed", strings.Repeat("line\n", 1000), []string{"--compression", "zstd"}, []string{"-n", "2"}, "line\nline\n"},
		{"headers", "v\n", []string{"-H", "a=1", "-H", "b=x=y"}, []string{"--json"},
			`{"topic":"T","partition":0,"offset":0,"timestamp":"*","key":null,"value":"v","headers":[{"key":"a","value":1},{"key":"b","value":"x=y"}]}` + "\n"},
		{"ndjson", `{"key":"k","value":{"a": [1,2]},"timestamp":"2026-01-02T03:04:05.678Z"}` + "\n\n" + `{"value_b64":"/w==","headers":{"h":null},"timestamp":1}` + "\n",
			[]string{"--format", "ndjson"}, []string{"--json"},
			`{"topic":"T","partition":0,"offset":0,"timestamp":"2026-01-02T03:04:05.678Z","key":"k","value":{"a":[1,2]}}` + "\n" +
				`{"topic":"T","partition":0,"offset":1,"timestamp":"1970-01-01T00:00:00.001Z","key":null,"value_b64":"/w==","headers":[{"key":"h","value":null}]}` + "\n"},
		{"json", `{"records":[{"value":1},{"value":"two"},{"value":null}]}`, []string{"--format", "json"}, nil, "1\ntwo\n\n"},
		{"json array", `[{"value":1}, {"value":2}]`, []string{"--format", "json"}, nil, "1\n2\n"},
		{"offset", "a\nb\nc\n", nil, []string{"--offset", "1"}, "b\nc\n"},
		{"latest", "a\n", nil, []string{"--from", "latest"}, ""},
		{"pretty", `{"a":1}` + "\n\x1b[31mred\n", []string{"-H", "h=v", "-k", "key"}, []string{"--format", "pretty"},
			"T/0 @0  *  key key\n  h: v\n  {\n    \"a\": 1\n  }\nT/0 @1  *  key key\n  h: v\n  \"\\x1b[31mred\"\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name := topic(t)
			must(t, tc.stdin, append([]string{"produce", name}, tc.produce...)...)
			got := must(t, "", append([]string{"consume", name}, tc.consume...)...)
			if got = anyTime(strings.ReplaceAll(got, name, "T"), tc.want); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

// anyTime puts * for the times of got where want has them.
func anyTime(got, want string) string {
	if !strings.Contains(want, "*") {
		return got
	}
	const form = len("2006-01-02T15:04:05.000Z")
	for i := 0; i+form <= len(got); i++ {
		if got[i:i+2] == "20" && got[i+form-1] == 'Z' && got[i+10] == 'T' {
			got = got[:i] + "*" + got[i+form:]
		}
	}
	return got
}

// What consume writes, produce takes back, whatever the bytes.
func TestRecordsSurviveTheRoundTrip(t *testing.T) {
	values := []string{`{"a":1}`, `{ "a" : 1 }`, `"quoted"`, `null`, `1e5`, "plain", "", "\xff\x00", "ü\u2028<&>", `[1,2]`, `true`}
	var in strings.Builder
	for i, v := range values {
		text, b64 := bytesToJSON([]byte(v))
		line, err := json.Marshal(jsonOutput{Timestamp: fmt.Sprintf("2026-01-02T03:04:%02dZ", i), Value: text, ValueB64: b64, Key: json.RawMessage(`"k"`)})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(line)
		in.WriteByte('\n')
	}
	first, second, third := topic(t), topic(t), topic(t)
	must(t, in.String(), "produce", first, "--format", "ndjson")
	want := must(t, "", "consume", first, "--json")
	for i, line := range strings.Split(strings.TrimSpace(want), "\n") {
		r, err := parseRecord([]byte(line))
		if err != nil || string(r.Value) != values[i] {
			t.Errorf("value %q came back as %q, %v", values[i], r.Value, err)
		}
	}
	must(t, want, "produce", second, "--format", "ndjson")
	batches := must(t, "", "consume", second, "--format", "batches")
	must(t, batches, "produce", third, "--format", "batches")
	got := must(t, "", "consume", third, "--json")
	if got != strings.ReplaceAll(want, first, third) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestProduceTellsEveryFate(t *testing.T) {
	pushCommands(t)
	name := topic(t)
	if r := at(t, server, "", "topic", "create", "other", "-p", "3", "--if-absent"); r.code != ExitOK {
		t.Fatal(r.err)
	}
	must(t, "", "pipeline", "set", name, "--stage", "commands@1,on_error=reject")
	const stdin = "keep\ndrop\nreject\nxroute\nkeep\nrefuse\n"
	r := at(t, server, stdin, "produce", name, "--json")
	var sum summary
	if err := json.Unmarshal([]byte(r.out), &sum); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	if r.code != ExitRejected || sum.Records != 6 || sum.Kept != 2 || sum.Dropped != 1 || sum.Rejected != 2 || sum.Routed != 1 || sum.RoutedTo["other"] != 1 {
		t.Errorf("exit %d, %+v", r.code, &sum)
	}
	want := []reject{{3, wasmtest.CommandCode, wasmtest.CommandMessage, "commands@1"}, {6, wasmtest.CommandCode, wasmtest.CommandMessage, "commands@1"}}
	if len(sum.Rejects) != 2 || sum.Rejects[0] != want[0] || sum.Rejects[1] != want[1] {
		t.Errorf("rejects %+v", sum.Rejects)
	}
	if r := at(t, server, stdin, "produce", name, "--allow-rejects"); r.code != ExitOK ||
		!strings.Contains(r.out, "2 kept, 1 dropped, 2 rejected, 1 routed to other") || !strings.Contains(r.err, "rejected 3: not wanted (code 7, commands@1)") {
		t.Errorf("%+v", r)
	}
	r = at(t, server, "reject\n", "produce", name)
	if r.code != ExitRejected || !strings.Contains(r.err, "records were rejected: 1 of 1") {
		t.Errorf("every record rejected: %+v", r)
	}
	if got := must(t, "", "consume", name); got != strings.Repeat("keep\n", 4) {
		t.Errorf("kept %q", got)
	}
}

func TestViewsAndAdHocModules(t *testing.T) {
	pushCommands(t)
	name := topic(t, "-p", "2")
	must(t, "a\nd\ng\nd\n", "produce", name, "--partition", "0")
	must(t, "h\nd\n", "produce", name, "--partition", "1")
	must(t, "", "view", "create", name+"-view", "--topic", name, "--stage", "commands")
	for _, args := range [][]string{{name + "-view"}, {"--view", name + "-view"}, {name, "--module", "commands@1"}, {name, "--module", "commands", "--module-config", "{}"}} {
		got := strings.Fields(must(t, "", append([]string{"consume"}, args...)...))
		if len(got) != 3 {
			t.Errorf("%v: %q", args, got)
		}
	}
	if got := must(t, "", "consume", name+"-view", "-p", "1"); got != "h\n" {
		t.Errorf("partition 1 of the view holds %q", got)
	}
	if r := at(t, server, "x\n", "produce", name+"-view"); r.code != ExitRefused && r.code != ExitNotFound {
		t.Errorf("produce to a view: %+v", r)
	}
}

func TestModuleCommands(t *testing.T) {
	pushCommands(t)
	out := must(t, `{"value":"keep"}`+"\n"+`{"value":"reject"}`+"\n"+`{"value":"trap"}`+"\n", "module", "test", "commands", "--json", "--on-error", "drop")
	var res struct{ Verdicts []struct{ Verdict string } }
	if err := json.Unmarshal([]byte(out), &res); err != nil || len(res.Verdicts) != 3 || res.Verdicts[0].Verdict != "kept" || res.Verdicts[1].Verdict != "rejected" {
		t.Errorf("%v: %s", err, out)
	}
	file := filepath.Join(t.TempDir(), "got.wasm")
	must(t, "", "module", "get", "commands@1", "-o", file)
	if b, err := os.ReadFile(file); err != nil || string(b) != string(wasmtest.Commands(0)) {
		t.Errorf("downloaded %d bytes, %v", len(b), err)
	}
	if r := at(t, server, "", "module", "get", "commands@99"); r.code != ExitNotFound {
		t.Errorf("%+v", r)
	}
	bad := filepath.Join(t.TempDir(), "bad.wasm")
	if err := os.WriteFile(bad, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := at(t, server, "", "module", "push", "bad", bad); r.code != ExitRefused || !strings.Contains(r.err, "INVALID_MODULE") {
		t.Errorf("%+v", r)
	}
}

func TestDerivationCommands(t *testing.T) {
	pushCommands(t)
	name := topic(t)
	must(t, "", "topic", "create", name+"-out")
	must(t, "", "derive", "create", name, "-t", name, "-o", name+"-out", "-s", "commands")
	must(t, "keep\ndrop\n", "produce", name)
	follow(t, name+"-out", "keep\n", nil)
	if out := must(t, "", "derive", "list"); !strings.Contains(out, name+"-out") {
		t.Errorf("%s", out)
	}
	must(t, "", "derive", "delete", name)
}

// A pipeline file says what flags say.
func TestPipelineFiles(t *testing.T) {
	pushCommands(t)
	name := topic(t)
	must(t, "", "topic", "create", name+"-bad")
	for ext, text := range map[string]string{
		"yaml": "stages:\n  - module: commands@1\n    on_error: dead_letter\n    dead_letter_topic: " + name + "-bad\n    config: {a: [1, two]}\n",
		"json": `{"stages":[{"module":"commands@1","on_error":"dead_letter","dead_letter_topic":"` + name + `-bad","config":{"a":[1,"two"]}}]}`,
	} {
		file := filepath.Join(t.TempDir(), "p."+ext)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		byFile := must(t, "", "pipeline", "set", name, "--file", file, "--json")
		byFlag := must(t, "", "pipeline", "set", name, "--json", "--stage", `commands@1,on_error=dead_letter,dead_letter_topic=`+name+`-bad,config={"a":[1,"two"]}`)
		if strip(t, byFile) != strip(t, byFlag) {
			t.Errorf("%s: %s\nflags: %s", ext, byFile, byFlag)
		}
		back := must(t, "", "pipeline", "get", name, "--json")
		if strip(t, back) != strip(t, byFlag) {
			t.Errorf("get: %s", back)
		}
	}
	must(t, "trap\nkeep\n", "produce", name)
	if got := must(t, "", "consume", name+"-bad"); got != "trap\n" {
		t.Errorf("dead letters %q", got)
	}
	must(t, "", "pipeline", "delete", name)
	if r := at(t, server, "", "pipeline", "get", name); r.code != ExitNotFound {
		t.Errorf("%+v", r)
	}
}

// strip is a pipeline's stages alone.
func strip(t *testing.T, text string) string {
	t.Helper()
	var p struct{ Stages json.RawMessage }
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(p.Stages)), "")
}

// follow reads with --follow until want was written, then interrupts it, which is no failure.
func follow(t *testing.T, name, want string, then func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &until{want: want, reached: cancel}
	if then != nil {
		var wg sync.WaitGroup
		wg.Go(then)
		defer wg.Wait()
	}
	if r := (invocation{server: server, in: strings.NewReader(""), tee: w}).run(t, ctx, "consume", name, "--follow"); r.code != ExitOK || r.out != want {
		t.Errorf("%+v, want %q", r, want)
	}
}

// until calls reached when all of want was written.
type until struct {
	got, want string
	reached   func()
}

func (u *until) Write(p []byte) (int, error) {
	if u.got += string(p); len(u.got) >= len(u.want) {
		u.reached()
	}
	return len(p), nil
}

func TestFollowSeesWhatComesLater(t *testing.T) {
	name := topic(t)
	must(t, "first\n", "produce", name)
	follow(t, name, "first\nsecond\n", func() {
		if r := at(t, server, "second\n", "produce", name); r.code != ExitOK {
			t.Errorf("%+v", r)
		}
	})
}

// Ctrl-C while produce waits for more input delivers what it has read.
func TestInterruptedProduceDeliversWhatItRead(t *testing.T) {
	name := topic(t)
	in, feed := io.Pipe()
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan result)
	go func() { done <- invocation{server: server, in: in}.run(t, ctx, "produce", name) }()
	if _, err := io.WriteString(feed, "one\ntwo\n"); err != nil {
		t.Fatal(err)
	}
	follow(t, name, "one\ntwo\n", nil) // the pipe still is open
	interrupt()
	r := <-done
	if r.code != ExitFailure || !strings.Contains(r.err, "interrupted") || !strings.Contains(r.out, "2 kept") {
		t.Errorf("%+v", r)
	}
	if err := feed.Close(); err != nil { // lets the goroutine go that waits for input
		t.Fatal(err)
	}
}
