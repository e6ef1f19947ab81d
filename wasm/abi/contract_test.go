package abi

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestFunctionsAreTheTexts: the tables of sections 1 and 5 of the ABI's text are Exports and HostFunctions.
func TestFunctionsAreTheTexts(t *testing.T) {
	text, err := os.ReadFile("../../sdk/spec/abi-v1.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z_0-9]+)` \\| `(\\(.*)` \\| (.*)")
	parameter := regexp.MustCompile(`\w+: `)
	var exports, imports []string
	before, after, _ := strings.Cut(string(text), "## 5. Imports")
	for _, m := range row.FindAllStringSubmatch(before, -1) {
		exports = append(exports, fmt.Sprintf("%s %s %t", m[1], parameter.ReplaceAllString(m[2], ""), strings.HasPrefix(m[3], "required")))
	}
	for _, m := range row.FindAllStringSubmatch(after, -1) {
		imports = append(imports, m[1]+" "+parameter.ReplaceAllString(m[2], ""))
	}
	var wantExports, wantImports []string
	for _, f := range Exports {
		signature := f.Signature.String()
		if f.Results == "" {
			signature += " -> ()"
		}
		wantExports = append(wantExports, fmt.Sprintf("%s %s %t", f.Name, signature, f.Required))
	}
	for _, f := range HostFunctions {
		wantImports = append(wantImports, f.Name+" "+f.Signature.String())
	}
	if fmt.Sprint(exports) != fmt.Sprint(wantExports) {
		t.Errorf("the text has the exports %q, the table %q", exports, wantExports)
	}
	if fmt.Sprint(imports) != fmt.Sprint(wantImports) {
		t.Errorf("the text has the imports %q, the table %q", imports, wantImports)
	}
}

func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		place Place
		in    OnError
		dead  string
		want  OnError // empty: refused
	}{
		{PlaceWrite, "", "", OnErrorReject},
		{PlaceView, "", "", OnErrorDrop},
		{PlaceDerivation, "", "", OnErrorDrop},
		{PlaceWrite, OnErrorReject, "", OnErrorReject},
		{PlaceWrite, OnErrorSkip, "", OnErrorSkip},
		{PlaceView, OnErrorSkip, "", OnErrorSkip},
		{PlaceView, OnErrorReject, "", ""},
		{PlaceDerivation, OnErrorReject, "", ""},
		{PlaceWrite, OnErrorDeadLetter, "dead", OnErrorDeadLetter},
		{PlaceDerivation, OnErrorDeadLetter, "dead", OnErrorDeadLetter},
		{PlaceView, OnErrorDeadLetter, "dead", ""},
		{PlaceWrite, OnErrorDeadLetter, "", ""},
		{PlaceWrite, OnErrorSkip, "dead", ""},
		{PlaceWrite, "", "dead", ""},
		{PlaceWrite, "explode", "", ""},
		{Place(3), OnErrorSkip, "", ""},
	} {
		got, err := c.place.Policy(c.in, c.dead)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s, on_error %q, dead-letter topic %q: got %q, %v", c.place, c.in, c.dead, got, err)
		}
	}
}

func TestNameFault(t *testing.T) {
	legal := []string{"a", "orders", "A.b_c-9", "...", "..a", ".hidden", strings.Repeat("n", MaxNameBytes)}
	illegal := map[string]string{
		"": "empty", ".": "directory", "..": "directory", "a/b": `"/"`, "a b": `" "`, "\xff": "contains", "a\x00": "contains",
		strings.Repeat("n", MaxNameBytes+1): "longer than 249",
	}
	for _, name := range legal {
		if fault := NameFault(name) + NameFault([]byte(name)); fault != "" {
			t.Errorf("%.20q: %s", name, fault)
		}
	}
	for name, want := range illegal {
		if a, b := NameFault(name), NameFault([]byte(name)); a != b || a == "" || !strings.Contains(a, want) {
			t.Errorf("%.20q: %q and %q, want %q", name, a, b, want)
		}
	}
	name := []byte("orders.of_2026-01")
	if n := testing.AllocsPerRun(20, func() { _ = NameFault(name) }); n != 0 {
		t.Errorf("%v allocations for a legal name", n)
	}
}
