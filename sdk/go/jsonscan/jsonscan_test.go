package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/sdk/go/jsonscan"
)

func TestFind(t *testing.T) {
	for _, c := range []struct{ name, path, doc, want string }{
		{"first level", "a", `{"a":1,"b":2}`, `1`},
		{"space around everything", "b", " { \"a\" : 1 ,\n\t\"b\" : [ 1 , 2 ] } ", `[ 1 , 2 ]`},
		{"string with escapes", "a", `{"x":"\\\"","a":"q\"\\"}`, `"q\"\\"`},
		{"nested", "a.b.c", `{"a":{"x":{"b":0},"b":{"c":true}}}`, `true`},
		{"same name deeper does not count", "b", `{"a":{"b":1}}`, ``},
		{"name as a value does not count", "b", `{"a":"b","c":["b",1]}`, ``},
		{"escaped key", "a/b", `{"\u0061\/b":"x"}`, `"x"`},
		{"surrogate pair in a key", "😀", `{"\ud83d\ude00":1}`, `1`},
		{"dot in a key", `a\.b`, `{"a":{"b":1},"a.b":2}`, `2`},
		{"the last of equal keys", "a", `{"a":1,"a":2}`, `2`},
		{"a later object replaces an earlier one", "a.b", `{"a":{"b":1},"a":{}}`, ``},
		{"path through a scalar", "a.b", `{"a":"b"}`, ``},
		{"not an object", "a", `[{"a":1}]`, ``},
		{"empty key", "", `{"":0}`, `0`},
		{"key that ends in an escaped quote", `a"`, `{"a\"" :5}`, `5`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := jsonscan.NewPath(c.path).Find([]byte(c.doc))
			if err != nil || string(got) != c.want {
				t.Fatalf("Find(%s) in %s = %q, %v; want %q", c.path, c.doc, got, err, c.want)
			}
		})
	}
}

func TestSyntaxErrorNamesTheByte(t *testing.T) {
	for doc, offset := range map[string]int{
		``: 0, `{"a":1`: 6, `{"a":1}x`: 7, `{"a" 1}`: 5, `{"a":"\x"}`: 6, "{\"a\":\"\n\"}": 6,
		`[1,]`: 3, `{"a":01}`: 6, `-`: 1, `1.`: 2, `1e`: 2, `tru`: 0, `{,}`: 1, `"\ud83`: 1,
	} {
		_, err := jsonscan.NewPath("a").Find([]byte(doc))
		var syntax *jsonscan.SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset != offset {
			t.Errorf("%q: %v, want a syntax error at %d", doc, err, offset)
		}
	}
}

// TestSpecialBytesAreSeenAnywhere moves each byte that matters through a string, past the
// boundaries of the words that are skipped at once.
func TestSpecialBytesAreSeenAnywhere(t *testing.T) {
	for _, special := range []string{`"`, `\n`, `\x`, "\n", "\x00", "\x1f", " ", "!", "#", "[", "]", "\x7f", "\x80", "é", "\xff"} {
		for before := range 20 {
			for after := range 10 {
				doc := `"` + strings.Repeat("a", before) + special + strings.Repeat("b", after) + `"`
				if got, want := jsonscan.Valid([]byte(doc)), json.Valid([]byte(doc)); got != want {
					t.Fatalf("Valid(%q) = %v, encoding/json says %v", doc, got, want)
				}
			}
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	deep := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if !jsonscan.Valid(deep(10000)) || jsonscan.Valid(deep(10001)) {
		t.Error("nesting must end at 10,000 levels")
	}
	object := []byte(strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001))
	path := jsonscan.NewPath(strings.Repeat("a.", 10000) + "a")
	if _, err := path.Find(object); err == nil {
		t.Error("a path must not lead deeper than 10,000 levels")
	}
}

func TestAllFindsEveryOccurrence(t *testing.T) {
	doc := []byte(`{"a":{"b":1},"a":{"b":2,"b":[3]}}`)
	spans, err := jsonscan.NewPath("a.b").All(doc)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range spans {
		got = append(got, string(doc[s.Start:s.End]))
	}
	if strings.Join(got, " ") != "1 2 [3]" {
		t.Errorf("found %v", got)
	}
}

func TestMembersAndElements(t *testing.T) {
	var got []string
	err := jsonscan.Members([]byte(` { "a" : 1 , "\u0062":"x" } `), func(k string, v []byte) error {
		got = append(got, k+"="+string(v))
		return nil
	})
	if err != nil || strings.Join(got, ",") != `a=1,b="x"` {
		t.Errorf("members %v, %v", got, err)
	}
	got = nil
	err = jsonscan.Elements([]byte(`[1, {"x":[]} ,"y"]`), func(v []byte) error {
		got = append(got, string(v))
		return nil
	})
	if err != nil || strings.Join(got, "|") != `1|{"x":[]}|"y"` {
		t.Errorf("elements %v, %v", got, err)
	}
	stop := errors.New("stop")
	if err := jsonscan.Elements([]byte(`[1]`), func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("visit's error is lost: %v", err)
	}
	for _, bad := range []string{`{}x`, `[]`, `{"a":1,}`, `{"a"}`, ``} {
		if jsonscan.Members([]byte(bad), func(string, []byte) error { return nil }) == nil {
			t.Errorf("%q passes as an object", bad)
		}
	}
	for _, bad := range []string{`[]x`, `{}`, `[1,]`, `[1 2]`, ``} {
		if jsonscan.Elements([]byte(bad), func([]byte) error { return nil }) == nil {
			t.Errorf("%q passes as an array", bad)
		}
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	path := jsonscan.NewPath("a.b")
	doc := []byte(`{"x":[{"y":"\u0041"}],"\u0061":{"b":"c"}}`)
	if n := testing.AllocsPerRun(100, func() { path.Find(doc) }); n != 0 {
		t.Errorf("%v allocations per search", n)
	}
}

// lookup is the model: decode everything, then follow the keys.
func lookup(doc []byte, keys ...string) (json.RawMessage, bool) {
	var value json.RawMessage = doc
	for _, key := range keys {
		object := map[string]json.RawMessage{}
		if json.Unmarshal(value, &object) != nil || object[key] == nil {
			return nil, false
		}
		value = object[key]
	}
	return value, true
}

func FuzzFindAgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":{"b":1}}`, `{"a":{"b":1},"a":2}`, `{"\u0061":{"b":"x\ny"}}`, `null`, `[1,2,{"a":3}]`,
		`{"a":{"b":null}}`, ` {"a":{"b":-1.5e+7}}`, `{"a":{"b":"\ud800"}}`, `{"a":`, `"\u12"`, "{\"a\xff\":1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if got, want := jsonscan.Valid(doc), json.Valid(doc); got != want {
			t.Fatalf("Valid(%q) = %v, encoding/json says %v", doc, got, want)
		}
		got, err := jsonscan.NewPath("a.b").Find(doc)
		if (err == nil) != json.Valid(doc) {
			t.Fatalf("Find(%q): %v", doc, err)
		}
		if err != nil {
			return
		}
		want, ok := lookup(doc, "a", "b")
		if ok != (got != nil) || string(got) != string(want) {
			t.Fatalf("Find(%q) = %q, encoding/json says %q (%v)", doc, got, want, ok)
		}
	})
}

func FuzzStringsAgreeWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{"", "plain", `q"\`, "\x00\x1f", "ünï😀", "\xff\xfe", "\u2028"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		quoted := jsonscan.AppendQuoted(nil, s)
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != string([]rune(string(s))) {
			t.Fatalf("AppendQuoted(%q) = %q reads as %q, %v", s, quoted, back, err)
		}
		if got := string(jsonscan.AppendUnquoted(nil, quoted)); got != back {
			t.Fatalf("AppendUnquoted(%q) = %q, want %q", quoted, got, back)
		}
		if s = bytes.TrimSpace(s); !json.Valid(s) || jsonscan.KindOf(s) != jsonscan.String {
			return
		}
		json.Unmarshal(s, &back)
		if got := string(jsonscan.AppendUnquoted(nil, s)); got != back {
			t.Fatalf("AppendUnquoted(%q) = %q, want %q", s, got, back)
		}
	})
}
