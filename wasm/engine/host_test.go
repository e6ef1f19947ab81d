package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/module"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

const (
	i32s = wasmtest.I32
	i64s = wasmtest.I64
)

// echoing answers with bit 63 and a message that it got from a host function: code leaves its address on the
// stack, then its length.
func echoing(p wasmtest.Parts, length int, code func(c *wasmtest.Code)) []byte {
	p.Process = func(c *wasmtest.Code) {
		code(c)
		c.I64(-1<<63 | 4096<<32 | int64(length))
	}
	return wasmtest.With(p)
}

func said(t *testing.T, p *Pool, in *abi.Input) string {
	t.Helper()
	_, err := process(p, in)
	var failure *abi.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want the guest's message", err)
	}
	return failure.Message
}

func TestConfigGet(t *testing.T) {
	e, _ := newEngine(t, Options{})
	config := []byte(`{"text":"a \"b\"","n":1.50,"list":[1, 2],"flag":true,"none":null,"empty":""}`)
	for key, want := range map[string]string{
		"text": `a "b"`, "n": "1.50", "list": "[1, 2]", "flag": "true", "none": "null", "empty": "",
	} {
		wasm := echoing(wasmtest.Parts{
			Imports: [][4]string{{"wasmill_v1", "config_get", i32s + i32s + i32s + i32s, i32s}}, Data: key,
		}, len(want), func(c *wasmtest.Code) {
			c.I32(wasmtest.DataAt).I32(int32(len(key))).I32(4096).I32(100).Call(0)
			c.I32(int32(len(want))).Eq().Eqz().If().Unreachable().End()
		})
		if got := said(t, newPool(t, e, wasm, PoolOptions{Config: config}), batch("a")); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestConfigGetWritesOnlyWhatFits(t *testing.T) {
	e, _ := newEngine(t, Options{})
	for key, want := range map[string]int32{"text": 5, "gone": -1} {
		wasm := echoing(wasmtest.Parts{
			Imports: [][4]string{{"wasmill_v1", "config_get", i32s + i32s + i32s + i32s, i32s}}, Data: key,
		}, 5, func(c *wasmtest.Code) {
			c.I32(wasmtest.DataAt).I32(4).I32(4096).I32(4).Call(0).I32(want).Eq().Eqz().If().Unreachable().End()
		})
		if got := said(t, newPool(t, e, wasm, PoolOptions{Config: []byte(`{"text":"hello"}`)}), batch("a")); got != "\x00\x00\x00\x00\x00" {
			t.Errorf("%s: the buffer holds %q", key, got)
		}
	}
}

func TestInit(t *testing.T) {
	logBuffer := &bytes.Buffer{}
	e, _ := newEngine(t, Options{Logger: slog.New(slog.NewTextHandler(logBuffer, nil))})
	// Logs its configuration and refuses it with code 9.
	refusing := wasmtest.With(wasmtest.Parts{
		Imports: [][4]string{{"wasmill_v1", "log", i32s + i32s + i32s, ""}},
		Init:    func(c *wasmtest.Code) { c.I32(3).Get(0).Get(1).Call(0).I32(9) },
	})
	for config, want := range map[string]string{"": "{}", "null": "{}", `{"a": 1}`: `{"a": 1}`} {
		_, err := openPool(e, refusing, PoolOptions{Label: "redact@2", Config: []byte(config)})
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Code != 9 || refused.Log != want {
			t.Errorf("%q: got %v, want code 9 and %q", config, err, want)
		}
	}
	if !strings.Contains(logBuffer.String(), `level=ERROR msg="module log line" module=redact@2 line="{\"a\": 1}"`) {
		t.Errorf("the log says %s", logBuffer)
	}
	for config, want := range map[string]string{"[]": "must be a JSON object", "{": "must be a JSON object", `{"a":"` + strings.Repeat("x", 1<<16) + `"}`: "the limit is 65536"} {
		if _, err := openPool(e, refusing, PoolOptions{Config: []byte(config)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: got %v, want %q in it", config, err, want)
		}
	}
}

func TestFieldsMayDependOnTheConfiguration(t *testing.T) {
	e, _ := newEngine(t, Options{})
	// The length of the configuration decides: 2 bytes mean the value, more mean the key.
	m := wasmtest.New()
	mask := m.Global(4)
	m.Func("wasmill_alloc", i32s, i32s, 0, func(c *wasmtest.Code) { c.I32(2048) })
	m.Func("wasmill_process_v1", i32s+i32s, i64s, 0, func(c *wasmtest.Code) { c.I64(0) })
	m.Func("wasmill_init_v1", i32s+i32s, i32s, 0, func(c *wasmtest.Code) {
		c.I32(1).GlobalSet(mask).Get(1).I32(2).Eq().If().I32(2 + 1<<10).GlobalSet(mask).End().I32(0)
	})
	m.Func("wasmill_fields_v1", "", i32s, 0, func(c *wasmtest.Code) { c.GlobalGet(mask) })
	wasm := m.Bytes()
	compiled, err := e.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	defer compiled.Release()
	if got := compiled.Info().Fields; got != abi.FieldHeaders {
		t.Errorf("without a configuration: %v", got)
	}
	if got := newPool(t, e, wasm, PoolOptions{}).Mask(); got != abi.FieldValue {
		t.Errorf("with {}: %v", got)
	}
	if got := newPool(t, e, wasm, PoolOptions{Config: []byte(`{"a":1}`)}).Mask(); got != abi.FieldKey {
		t.Errorf("with a key: %v", got)
	}
}

func TestNowAndRandomDependOnTheBatchAlone(t *testing.T) {
	e, _ := newEngine(t, Options{})
	imports := [][4]string{{"wasmill_v1", "now", "", i64s}, {"wasmill_v1", "random", i32s + i32s, ""}}
	now := echoing(wasmtest.Parts{Imports: imports}, 0, func(c *wasmtest.Code) {
		c.Call(0).I64(1000).Eq64().Eqz().If().Unreachable().End()
	})
	if got := said(t, newPool(t, e, now, PoolOptions{}), batch("a")); got != "" {
		t.Errorf("now: %q", got)
	}
	random := newPool(t, e, echoing(wasmtest.Parts{Imports: imports}, 64, func(c *wasmtest.Code) { c.I32(4096).I32(64).Call(1) }), PoolOptions{})
	first := said(t, random, batch("a"))
	if again := said(t, random, batch("a")); again != first {
		t.Error("a repeated call sees other bytes")
	}
	for name, change := range map[string]func(in *abi.Input){
		"topic":     func(in *abi.Input) { in.Topic = "u" },
		"partition": func(in *abi.Input) { in.Partition = 1 },
		"timestamp": func(in *abi.Input) { in.BaseTimestamp++ },
		"offset":    func(in *abi.Input) { in.BaseOffset = 7 },
	} {
		in := batch("a")
		change(in)
		if said(t, random, in) == first {
			t.Errorf("another %s sees the same bytes", name)
		}
	}
}

// The WASI clock shows record time: 1,000 ms are 1,000,000,000 ns.
func TestWASIClockIsRecordTime(t *testing.T) {
	e, _ := newEngine(t, Options{})
	wasm := echoing(wasmtest.Parts{Imports: [][4]string{{"wasi_snapshot_preview1", "clock_time_get", i32s + i64s + i32s, i32s}}}, 4, func(c *wasmtest.Code) {
		c.I32(0).I64(1).I32(4096).Call(0).Drop()
		// As text: "okay" when the nanoseconds are right.
		c.I32(4096).Load32(0).I32(1_000_000_000).Eq().If().I32(4096).I32('o' | 'k'<<8 | 'a'<<16 | 'y'<<24).Store32(0).End()
	})
	if got := said(t, newPool(t, e, wasm, PoolOptions{}), batch("a")); got != "okay" {
		t.Errorf("got %q", got)
	}
}

// TestHostFunctionsAreOneTable: what a binary may import and what the engine links are abi.HostFunctions. A
// module that imports all of them with the signatures of the table is accepted and starts; one with another
// signature, or another function, is not.
func TestHostFunctionsAreOneTable(t *testing.T) {
	e, _ := newEngine(t, Options{})
	var all [][4]string
	for _, f := range abi.HostFunctions {
		if hostFunctions[f.Name] == nil {
			t.Errorf("%s is in the table and does nothing", f.Name)
		}
		all = append(all, [4]string{abi.ImportModule, f.Name, f.Params, f.Results})
		wrong := [4]string{abi.ImportModule, f.Name, f.Params + i64s, f.Results}
		if _, err := e.Compile(t.Context(), wasmtest.With(wasmtest.Parts{Imports: [][4]string{wrong}})); !errors.Is(err, module.ErrWrongSignature) {
			t.Errorf("%s with one parameter more: %v", f.Name, err)
		}
	}
	if len(hostFunctions) != len(abi.HostFunctions) {
		t.Errorf("the engine has %d functions, the table %d", len(hostFunctions), len(abi.HostFunctions))
	}
	newPool(t, e, wasmtest.With(wasmtest.Parts{Imports: all}), PoolOptions{})
	unknown := [4]string{abi.ImportModule, "kv_get", i32s, i32s}
	if _, err := e.Compile(t.Context(), wasmtest.With(wasmtest.Parts{Imports: [][4]string{unknown}})); !errors.Is(err, module.ErrUnknownImport) {
		t.Errorf("a function that is not in the table: %v", err)
	}
}

func TestHostFunctionsTrapOutOfBounds(t *testing.T) {
	e, _ := newEngine(t, Options{})
	const bad = -16
	for name, c := range map[string]struct {
		signature [2]string
		call      func(c *wasmtest.Code)
	}{
		"log":        {[2]string{i32s + i32s + i32s, ""}, func(c *wasmtest.Code) { c.I32(1).I32(bad).I32(4).Call(0) }},
		"random":     {[2]string{i32s + i32s, ""}, func(c *wasmtest.Code) { c.I32(0).I32(bad).Call(0) }},
		"metric_add": {[2]string{i32s + i32s + i64s, ""}, func(c *wasmtest.Code) { c.I32(bad).I32(4).I64(1).Call(0) }},
		"config_get": {[2]string{i32s + i32s + i32s + i32s, i32s}, func(c *wasmtest.Code) { c.I32(512).I32(0).I32(bad).I32(100).Call(0).Drop() }},
	} {
		wasm := echoing(wasmtest.Parts{Imports: [][4]string{{"wasmill_v1", name, c.signature[0], c.signature[1]}}}, 0, c.call)
		_, err := process(newPool(t, e, wasm, PoolOptions{Config: []byte(`{"":"empty key"}`)}), batch("a"))
		if err == nil || !strings.Contains(err.Error(), "address out of bounds") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestGuestMetrics(t *testing.T) {
	m := &meter{}
	g := guestMetrics{observer: m, label: "x@1"}
	g.add([]byte("seen"), 2)
	g.add([]byte("seen"), 3)
	for _, bad := range []string{"", "Seen", "1seen", "se-en", strings.Repeat("a", 65)} {
		g.add([]byte(bad), 1)
	}
	for i := range 100 {
		g.add(fmt.Appendf(nil, "m%d", i), 1)
	}
	if m.metrics["x@1/seen"] != 5 || len(m.metrics) != maxGuestMetrics {
		t.Errorf("seen = %d, %d names", m.metrics["x@1/seen"], len(m.metrics))
	}
}

func TestStandardOutputBecomesLogLines(t *testing.T) {
	var lines []string
	l := lineSplit{line: func(b []byte) { lines = append(lines, string(b)) }}
	long := strings.Repeat("x", maxLogLine+10)
	for _, part := range []string{"one\ntw", "", "o\n\n", long, long + "\nrest"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	want := []string{"one", "two", "", long[:maxLogLine]}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("got %q", lines)
	}
}

func TestGuestLogIsLimited(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	g := newGuestLog(slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return now })
	count := func() int { defer out.Reset(); return strings.Count(out.String(), "\n") }
	for range 200 {
		g.line(slog.LevelInfo, []byte("again"))
	}
	if n := count(); n != logBurst {
		t.Errorf("%d lines at once, want %d", n, logBurst)
	}
	now = now.Add(time.Second)
	g.line(slog.LevelInfo, []byte("a\xff"))
	if s := out.String(); !strings.Contains(s, "suppressed_before=150") || !strings.Contains(s, "a\uFFFD") {
		t.Errorf("got %s", s)
	}
	for range 200 {
		g.line(slog.LevelInfo, []byte("again"))
	}
	g.line(slog.LevelDebug, []byte("not enabled"))
	if n := count(); n != logPerSecond {
		t.Errorf("%d lines in a second, want %d", n, logPerSecond)
	}
}

func TestInterpreterOnlyWhenAllowed(t *testing.T) {
	if err := compilerSupported(); err != nil {
		t.Fatalf("this machine: %v", err)
	}
	e, err := New(Options{AllowInterpreter: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	if e.interpreter {
		t.Error("the interpreter was chosen although the compiler works")
	}
	e.interpreter = true // as on a machine without a compiler
	p, err := openPool(e, wasmtest.Commands(0), PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := process(p, batch("k", "d")); err != nil || got != "keep0" {
		t.Errorf("the interpreter answers %q, %v", got, err)
	}
	p.Close()
	for _, limit := range []int64{-1, 1, 4 << 30} {
		if _, err := New(Options{MaxMemoryBytes: limit}); err == nil {
			t.Errorf("a memory limit of %d was accepted", limit)
		}
	}
}
