package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asProgram makes this test binary be the program: processes are started from it.
const asProgram = "WASMILL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is a command line, run as a process.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	// The race detector would have each process wait for a second at its end.
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0", "GOCOVERDIR="+t.TempDir())
	return cmd
}

// run runs a command line to its end.
func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := program(t, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

// process is a running serve.
type process struct {
	cmd  *exec.Cmd
	url  string
	errs bytes.Buffer
}

func serve(t *testing.T, data string, args ...string) *process {
	t.Helper()
	b := &process{cmd: program(t, append([]string{"serve", "--data", data, "--http", "127.0.0.1:0"}, args...)...)}
	b.cmd.Stderr = &b.errs
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "wasmill ready on http://127.0.0.1:") || !strings.Contains(line, " data="+data+" ") {
		t.Fatalf("first line %q, %v", line, err)
	}
	b.url = strings.Fields(line)[3]
	return b
}

// stop sends a signal and waits; it returns the exit code.
func (b *process) stop(t *testing.T, s os.Signal) int {
	t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := b.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return b.cmd.ProcessState.ExitCode()
}

func TestServeStopsInOrder(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		b := serve(t, data)
		if code, _, errs := run(t, "topic", "create", "t", "--if-absent", "--server", b.url); code != 0 {
			t.Errorf("exit %d: %s", code, errs)
		}
		if code := b.stop(t, s); code != 0 || !strings.Contains(b.errs.String(), "shutting down") {
			t.Errorf("%v: exit %d\n%s", s, code, b.errs.String())
		}
	}
}

// A request that does not end holds the shutdown up; a second signal does not wait for it.
func TestASecondSignalEndsServeAtOnce(t *testing.T) {
	cmd := program(t, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0", "--shutdown-timeout", "1h")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	logs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(strings.Fields(line)[3], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The broker answers "100 Continue" when it has the request: from then on it waits for the body.
	if _, err := io.WriteString(c, "POST /v1/topics HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if status, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(status, "100") {
		t.Fatalf("%q, %v", status, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(logs)
	for scan.Scan() && !strings.Contains(scan.Text(), "shutting down") {
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 { // -1: by the signal
		t.Errorf("%v, %v", err, cmd.ProcessState)
	}
}

func TestServeSaysWhyItCannotStart(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	b := serve(t, data)
	defer b.stop(t, syscall.SIGTERM)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "wasmill.json"), []byte(`{"format":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(b.url, "http://")
	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"second broker", []string{"--data", data, "--http", "127.0.0.1:0"}, 1, []string{"in use by another broker", "Stop the other broker"}},
		{"address in use", []string{"--data", t.TempDir(), "--http", address}, 1, []string{"address " + address + " is in use", "--http"}},
		{"not a directory", []string{"--data", filepath.Join(file, "x"), "--http", "127.0.0.1:0"}, 1, []string{"cannot be used", "--data"}},
		{"newer format", []string{"--data", newer, "--http", "127.0.0.1:0"}, 1, []string{"newer version"}},
		{"bad configuration", []string{"--http", "x", "--log-level", "loud"}, 2, []string{"http: ", "log-level: ", "serve --help"}},
		{"missing file", []string{"--config", file + ".yaml"}, 2, []string{file + ".yaml"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, errs := run(t, append([]string{"serve"}, tc.args...)...)
			if code != tc.code || out != "" {
				t.Errorf("exit %d, want %d, output %q", code, tc.code, out)
			}
			for _, want := range tc.want {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q in:\n%s", want, errs)
				}
			}
		})
	}
}

func TestLogsOfAStoppedBroker(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	b := serve(t, data)
	input := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(input, []byte("k:first\nk:second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"topic", "create", "t"},
		{"produce", "t", "-f", input, "--key-separator", ":"},
		{"produce", "t", "-f", input, "--format", "raw"}, // with frames behind it, damage is no torn tail
	} {
		if code, _, errs := run(t, append(args, "--server", b.url)...); code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
	}
	if code, _, errs := run(t, "log", "verify", "--data", data); code != 1 || !strings.Contains(errs, "--live") {
		t.Errorf("while the broker runs: exit %d: %s", code, errs)
	}
	if code, _, errs := run(t, "log", "verify", "--data", data, "--live"); code != 0 {
		t.Errorf("--live: exit %d: %s", code, errs)
	}
	b.stop(t, syscall.SIGTERM)

	code, out, errs := run(t, "log", "dump", "t/0", "--data", data, "--records", "--json", "--offset", "1", "-n", "1")
	var frame struct {
		Batches []struct {
			Count   int
			Records []struct{ Value string }
		}
	}
	if err := json.Unmarshal([]byte(out), &frame); code != 0 || err != nil || len(frame.Batches) != 1 || frame.Batches[0].Count != 2 || frame.Batches[0].Records[1].Value != "second" {
		t.Errorf("dump: exit %d, %v\n%s%s", code, err, out, errs)
	}
	if code, out, errs := run(t, "log", "dump", "t/0", "--data", data, "--records"); code != 0 || !strings.Contains(out, "2 records") || !strings.Contains(out, `"second"`) {
		t.Errorf("dump: exit %d\n%s%s", code, out, errs)
	}
	code, out, errs = run(t, "log", "verify", "--data", data)
	if code != 0 || !strings.Contains(out, "ok; offsets 0 to 3") || !strings.Contains(out, "1 log, 0 faults") {
		t.Errorf("verify: exit %d\n%s%s", code, out, errs)
	}
	damage(t, data, "second") // the first there is
	code, out, errs = run(t, "log", "verify", "t/0", "--data", data, "--json")
	var report struct {
		Logs []struct {
			Faults   []struct{ File, Problem, Advice string }
			TornTail *struct{ File string } `json:"torn_tail"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || len(report.Logs) != 1 {
		t.Fatalf("verify of a damaged log: exit %d, %v\n%s%s", code, err, out, errs)
	}
	if l := report.Logs[0]; code != 1 || len(l.Faults) == 0 || l.Faults[0].Advice == "" {
		t.Errorf("verify of a damaged log: exit %d, %+v\n%s", code, l, errs)
	}
}

// damage flips a bit of the text, wherever a segment holds it.
func damage(t *testing.T, data, text string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(data, "partitions", "*", "*", "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	b, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(text))
	if at < 0 {
		t.Fatalf("%s does not hold %q", segments[0], text)
	}
	b[at] ^= 1
	if err := os.WriteFile(segments[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBenchStartsItsOwnBroker(t *testing.T) {
	dir := t.TempDir()
	code, out, errs := run(t, "bench", "--start", "--raw", "--json", "--data", dir, "-d", "200ms", "-c", "2", "-p", "2",
		"--batch-bytes", "16KiB", "--raw-file-bytes", "1MiB", "--flush", "relaxed")
	var report struct {
		Phases []struct {
			Phase             string
			Requests          int64
			BytesPerSecond    float64                    `json:"bytes_per_second"`
			RawBytesPerSecond float64                    `json:"raw_bytes_per_second"`
			LatencyMS         struct{ P50, Max float64 } `json:"latency_ms"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil || len(report.Phases) != 2 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, errs)
	}
	for _, p := range report.Phases {
		if p.Requests == 0 || p.BytesPerSecond <= 0 || p.RawBytesPerSecond <= 0 || p.LatencyMS.P50 <= 0 || p.LatencyMS.Max < p.LatencyMS.P50 {
			t.Errorf("%+v", p)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPluginNewMakesAProject(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "redact")
	code, out, errs := run(t, "plugin", "new", "redact", "--dir", dir)
	if code != 0 || !strings.Contains(out, "wasmill module push redact "+filepath.Join(dir, "redact.wasm")) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "Makefile")); err != nil {
		t.Error(err)
	}
	if code, _, errs := run(t, "plugin", "new", "redact", "--dir", dir); code != 1 || !strings.Contains(errs, "--dir") {
		t.Errorf("again: exit %d\n%s", code, errs)
	}
}
