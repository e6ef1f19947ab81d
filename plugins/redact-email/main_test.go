package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/sdk/go/wasmilltest"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "",
		"no address":                         "no address",
		"joe@example.org":                    "*",
		"Joe <joe@example.org>, Ann":         "Joe <*>, Ann",
		"mail joe.b-l+x_y@mail.example.org.": "mail *.",
		"a@x.org,b@y.net;c@z.com":            "*,*;*",
		"o'brien@x.org":                      "*",
		"..joe@x.org":                        "..*",
		"root@localhost":                     "root@localhost",
		"at 10@3.50 each":                    "at 10@3.50 each",
		"@x.org and joe@":                    "@x.org and joe@",
		"joe@x":                              "joe@x",
		"joe@x.c":                            "joe@x.c",
		"joe@-x.org":                         "joe@-x.org",
		"joe@x-.org":                         "joe@x-.org",
		"joe@x..org":                         "joe@x..org",
		"joe@x.org-":                         "*-",
		"joe@x.org.":                         "*.",
		"mailto:joe@x.org?subject=a@b":       "mailto:*?subject=a@b",
		"müller@exämple.de":                  "*",
		"“joe@x.org”":                        "“*”",
		"\xffjoe@x.org\xff":                  "\xff*\xff",
		"a@b.cd@e.fg":                        "*",
		"a@b.cd.@e.fg ann@x.org":             "* *",
		"@@joe@x.org@@":                      "@@*@@",
	} {
		got, found := appendRedacted(nil, []byte(text), []byte("*"))
		if string(got) != want || found != (text != want) {
			t.Errorf("%q: %q, %v; want %q", text, got, found, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for _, c := range []struct{ name, config, value, want string }{
		{"every string", `{}`, `{"a":"x joe@x.org","b":[{"c":"ann@y.net"}],"n":1}`, `{"a":"x [redacted]","b":[{"c":"[redacted]"}],"n":1}`},
		{"keys of objects too", `{"replacement":"-"}`, `{"joe@x.org":{"a":1}}`, `{"-":{"a":1}}`},
		{"space and order stay", `{"replacement":"-"}`, ` { "b" : "j@x.org" , "a" : [ ] } `, ` { "b" : "-" , "a" : [ ] } `},
		{"fields alone", `{"replacement":"-","fields":["m"]}`, `{"x":"joe@x.org","m":"ann@y.net"}`, `{"x":"joe@x.org","m":"-"}`},
		{"strings deep in a field", `{"replacement":"-","fields":["m"]}`, `{"m":[{"a":["j@x.org"]}]}`, `{"m":[{"a":["-"]}]}`},
		{"nested and overlapping fields", `{"replacement":"-","fields":["m.a","m"]}`, `{"m":{"b":"b@x.org","a":"a@x.org"}}`, `{"m":{"b":"-","a":"-"}}`},
		{"all of several equal keys", `{"replacement":"-","fields":["m"]}`, `{"m":"a@x.org","m":"b@x.org"}`, `{"m":"-","m":"-"}`},
		{"escapes before an address", `{"replacement":"-"}`, `{"a":"one\njoe@x.org\u00e4\"joe@x.org\""}`, `{"a":"one\n-\"-\""}`},
		{"an escaped at sign", `{"replacement":"-"}`, `{"a":"joe\u0040x.org"}`, `{"a":"-"}`},
		{"a replacement that needs escapes", `{"replacement":"\"\\"}`, `{"a":"joe@x.org"}`, `{"a":"\"\\"}`},
		{"a bare string", `{"replacement":"-"}`, `"joe@x.org"`, `"-"`},
		{"not JSON", `{"replacement":"-"}`, `joe@x.org wrote`, `- wrote`},
		{"not JSON though fields are named", `{"replacement":"-","fields":["m"]}`, `{"x":"joe@x.org"`, `{"x":"-"`},
		{"empty replacement", `{"replacement":""}`, `{"a":"<joe@x.org>"}`, `{"a":"<>"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := wasmilltest.New(t, newRedactor(), wasmilltest.Config(c.config))
			got := run.Values(c.value)
			if got.Verdict(0) != wasmilltest.Changed || string(got.Own()[0].Value) != c.want {
				t.Errorf("%s", got)
			}
		})
	}
}

func TestNothingToRedactKeepsTheRecord(t *testing.T) {
	run := wasmilltest.New(t, newRedactor())
	values := []string{``, `{"a":"b"}`, `{"a":"@"}`, `{"a":"\u0040"}`, `root@localhost`}
	for i, verdict := range run.Values(values...).Verdicts() {
		if verdict != wasmilltest.Kept {
			t.Errorf("%q is %s", values[i], verdict)
		}
	}
	if got := run.Run(wasmilltest.Record{Key: []byte("a@x.org")}); got.Verdict(0) != wasmilltest.Kept {
		t.Errorf("a null value is %s", got.Verdict(0))
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for _, config := range []string{`{"replacement":1}`, `{"fields":"a"}`, `{"fields":[1]}`, `{"field":["a"]}`, `[]`, `{`} {
		if _, err := wasmilltest.Start(t, newRedactor(), wasmilltest.Config(config)); err == nil {
			t.Errorf("%s is accepted", config)
		}
	}
}

// decodedStrings lists what a reader of a JSON text would see.
func decodedStrings(v any, found []string) []string {
	switch v := v.(type) {
	case string:
		found = append(found, v)
	case []any:
		for _, e := range v {
			found = decodedStrings(e, found)
		}
	case map[string]any:
		for key, e := range v {
			found = decodedStrings(e, append(found, key))
		}
	}
	return found
}

func FuzzNoAddressIsLeft(f *testing.F) {
	for _, seed := range []string{
		`{"a":"joe@x.org"}`, `{"a":"joe\u0040x.org"}`, `joe@x.org`, `["\ud83d\ude00a@b.cd\\"]`, `{"a":"\n\"j@x.org"`,
		`{"a":{"b@c.de":["x@y.zz",1,null]}} `, "\"\xff@x.org\"", `"a@b.c\u002e\u0064e"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		x := &redactor{replacement: []byte("-")}
		clean, changed := x.redact(value)
		if !changed && !bytes.Equal(clean, value) {
			t.Fatalf("%q became %q unchanged", value, clean)
		}
		if json.Valid(value) != json.Valid(clean) && json.Valid(value) {
			t.Fatalf("%q became %q, which is not JSON", value, clean)
		}
		var decoded any
		texts := []string{string(clean)}
		if json.Unmarshal(clean, &decoded) == nil && json.Valid(value) {
			texts = decodedStrings(decoded, nil)
		}
		for _, text := range texts {
			if again, found := appendRedacted(nil, []byte(text), []byte("-")); found {
				t.Fatalf("%q leaves an address in %q: %q", value, text, again)
			}
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	value := []byte(`{"name":"x","maintainer":"Joe <joe@example.org>","description":"` + strings.Repeat("text ", 150) + `"}`)
	x := &redactor{replacement: []byte("-")}
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		x.redact(value)
	}
}
