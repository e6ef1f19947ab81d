package errcode_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
)

var update = flag.Bool("update", false, "rewrite generated files")

// tableFaults lists what is wrong with a table of codes.
func tableFaults(table []errcode.Info) []string {
	var faults []string
	names := map[string]bool{}
	last := errcode.Code(math.MinInt16)
	for _, row := range table {
		bad := func(format string, args ...any) {
			faults = append(faults, fmt.Sprintf("%d %s: ", row.Code, row.Name)+fmt.Sprintf(format, args...))
		}
		if row.Code <= last {
			bad("not sorted by code, or the code is there twice")
		}
		if !regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`).MatchString(row.Name) {
			bad("name is not UPPER_SNAKE")
		}
		if names[row.Name] {
			bad("name is there twice")
		}
		if row.HTTPStatus < 400 || row.HTTPStatus > 599 {
			bad("status %d is no error", row.HTTPStatus)
		}
		if row.Retriable && row.HTTPStatus < 500 && row.HTTPStatus != 429 {
			bad("a retry cannot help after status %d", row.HTTPStatus)
		}
		if !strings.HasSuffix(row.Summary, ".") {
			bad("summary is not a sentence")
		}
		names[row.Name], last = true, row.Code
	}
	return faults
}

func TestTable(t *testing.T) {
	for _, fault := range tableFaults(errcode.Table()) {
		t.Error(fault)
	}
	for _, row := range errcode.Table() {
		if got := row.Code.Info(); got != row {
			t.Errorf("Info of %d = %+v, want %+v", row.Code, got, row)
		}
	}
}

func TestTableFaultsAreFound(t *testing.T) {
	table := errcode.Table()
	table[3], table[4] = table[4], table[3]
	table[5].Name = table[6].Name
	table[7].HTTPStatus = 200
	if got := tableFaults(table); len(got) != 3 {
		t.Fatalf("a broken table has faults %q, want 3", got)
	}
}

func TestUnlistedCode(t *testing.T) {
	info := errcode.Code(999).Info()
	if info.Code != 999 || info.Name != "CODE_999" || info.Retriable || info.HTTPStatus != 500 {
		t.Fatalf("got %+v", info)
	}
}

func TestNewKeepsCause(t *testing.T) {
	e := errcode.New(errcode.StorageFailed, "append orders/3: %w", io.ErrShortWrite)
	if e.Detail != "append orders/3: short write" || e.Cause != io.ErrShortWrite {
		t.Fatalf("got %+v", e)
	}
	two := errcode.New(errcode.Unknown, "%w and %w", io.EOF, io.ErrNoProgress)
	if !errors.Is(two, io.EOF) || !errors.Is(two, io.ErrNoProgress) {
		t.Fatal("causes are lost")
	}
	if errcode.New(errcode.Unknown, "plain").Cause != nil {
		t.Fatal("a cause from nowhere")
	}
}

func TestFrom(t *testing.T) {
	inner := errcode.New(errcode.DiskFull, "no space")
	tests := []struct {
		name string
		err  error
		want errcode.Code
	}{
		{"itself", inner, errcode.DiskFull},
		{"wrapped", fmt.Errorf("append: %w", inner), errcode.DiskFull},
		{"joined", errors.Join(io.EOF, inner), errcode.DiskFull},
		{"outermost first", errcode.New(errcode.Overloaded, "busy: %w", inner), errcode.Overloaded},
		{"deadline", fmt.Errorf("wait: %w", context.DeadlineExceeded), errcode.RequestTimedOut},
		{"other", io.EOF, errcode.Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := errcode.From(tt.err); got.Code != tt.want {
				t.Fatalf("got %v, want %v", got.Code, tt.want)
			}
		})
	}
	if errcode.From(nil) != nil || errcode.From((*errcode.Error)(nil)) != nil {
		t.Fatal("From(nil) is not nil")
	}
	if !errcode.Is(fmt.Errorf("x: %w", inner), errcode.DiskFull) || errcode.Is(inner, errcode.Unknown) || errcode.Is(nil, errcode.Unknown) {
		t.Fatal("Is is wrong")
	}
}

func TestWithCopies(t *testing.T) {
	base := errcode.New(errcode.OffsetOutOfRange, "x").With("a", 1)
	left, right := base.With("b", 2), base.With("b", 3)
	if len(base.Fields) != 1 || left.Fields["b"] != 2 || right.Fields["b"] != 3 || left.Fields["a"] != 1 {
		t.Fatalf("base %v, left %v, right %v", base.Fields, left.Fields, right.Fields)
	}
}

func TestJSON(t *testing.T) {
	e := errcode.New(errcode.OffsetOutOfRange, "offset 9 of <orders>/0 is past the end").
		With("log_start_offset", 0).With("high_watermark", 5).With("code", "hidden").With("nan", math.NaN())
	wantObject := `{"code":1,"name":"OFFSET_OUT_OF_RANGE","detail":"offset 9 of <orders>/0 is past the end","retriable":false,` +
		`"high_watermark":5,"log_start_offset":0,"nan":"NaN"}`
	wantProblem := `{"type":"https://github.com/wasmill/wasmill/blob/main/docs/errors.md#offset_out_of_range",` +
		`"title":"The offset lies before the log start offset or past the high watermark; both are in the answer.",` +
		`"status":416,"detail":"offset 9 of <orders>/0 is past the end","code":1,"name":"OFFSET_OUT_OF_RANGE","retriable":false,` +
		`"high_watermark":5,"log_start_offset":0,"nan":"NaN"}`
	object, err := e.MarshalJSON()
	if err != nil || string(object) != wantObject {
		t.Fatalf("got %s, %v\nwant %s", object, err, wantObject)
	}
	if got := string(e.Problem()); got != wantProblem {
		t.Fatalf("got %s\nwant %s", got, wantProblem)
	}
	for _, data := range [][]byte{object, e.Problem()} {
		var back errcode.Error
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if back.Code != e.Code || back.Detail != e.Detail || len(back.Fields) != 3 || back.Fields["high_watermark"] != 5.0 {
			t.Fatalf("round trip gave %+v", back)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"code":3,"detail":"x","topic":"orders"}`))
	f.Add([]byte(`{"code":99999}`))
	f.Add([]byte(`{"detail":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e errcode.Error
		if e.UnmarshalJSON(data) != nil {
			return
		}
		if !json.Valid(e.Problem()) {
			t.Fatalf("%q became %q", data, e.Problem())
		}
	})
}

// document renders docs/errors.md.
func document() []byte {
	var b bytes.Buffer
	b.WriteString("# Error codes\n\n" +
		"Made from the table in `core/errcode` by `go test ./core/errcode -update`.\n\n" +
		"Every error answer is `application/problem+json` with `code`, `name`, `retriable`, `status` and a `detail` " +
		"that says what happened, to what, and what to do next. Codes below 1000 are Kafka's for the same failure. " +
		"`retriable` means that the same request may succeed later, unchanged.\n")
	for _, row := range errcode.Table() {
		retry := "not retriable"
		if row.Retriable {
			retry = "retriable"
		}
		fmt.Fprintf(&b, "\n## %s\nCode %d, HTTP %d, %s. %s\n", row.Name, row.Code, row.HTTPStatus, retry, row.Summary)
	}
	return b.Bytes()
}

func TestDocument(t *testing.T) {
	const path = "../../docs/errors.md"
	if *update {
		if err := os.WriteFile(path, document(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, document()) {
		t.Fatalf("%s is not what the table says; run go test ./core/errcode -update", path)
	}
}
