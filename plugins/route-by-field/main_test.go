package main

import (
	"encoding/json"
	"testing"

	"github.com/wasmill/wasmill/sdk/go/wasmilltest"
)

func TestRoute(t *testing.T) {
	const config = `{"field":"a.b","routes":{"x":"t-x","7":"t-7","true":"t-true","é\n":"t-e"}}`
	run := wasmilltest.New(t, newRouter(), wasmilltest.Config(config))
	for value, topic := range map[string]string{
		`{"a":{"b":"x"}}`:            "t-x",
		`{"a":{"b":"\u0078"}}`:       "t-x",
		`{"a":{"b":7}}`:              "t-7",
		`{"a":{"b":true}}`:           "t-true",
		`{"a":{"b":"\u00e9\n"}}`:     "t-e",
		`{"a":{"b":"y"}}`:            "test",
		`{"a":{"b":"y"},"b":"x"}`:    "test",
		`{"b":"x"}`:                  "test",
		`{"a":{"b":"y"},"c":{"b":1}`: "test",
		`not JSON`:                   "test",
		``:                           "test",
	} {
		got := run.Values(value)
		if to := got.To(topic); len(got.Actions) != 1 || len(to) != 1 || string(to[0].Value) != value {
			t.Errorf("%s must go to %s alone:\n%s", value, topic, got)
		}
	}
}

func TestCopyKeepsTheRecordToo(t *testing.T) {
	run := wasmilltest.New(t, newRouter(), wasmilltest.Config(`{"field":"a","routes":{"x":"t"},"copy":true}`))
	got := run.Values(`{"a":"x"}`)
	if len(got.Own()) != 1 || len(got.To("t")) != 1 || got.Verdict(0) != wasmilltest.Kept {
		t.Errorf("%s", got)
	}
}

func TestDefaultTakesTheRest(t *testing.T) {
	run := wasmilltest.New(t, newRouter(), wasmilltest.Config(`{"field":"a","routes":{"x":"t"},"default":"rest"}`))
	got := run.Values(`{"a":"x"}`, `{"a":"y"}`, `{`, `null`)
	if len(got.To("t")) != 1 || len(got.To("rest")) != 3 || len(got.Own()) != 0 {
		t.Errorf("%s", got)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for _, config := range []string{
		`{}`, `{"field":"a"}`, `{"routes":{"a":"b"}}`, `{"field":"a","routes":{}}`, `{"field":1,"routes":{"a":"b"}}`,
		`{"field":"a","routes":{"a":1}}`, `{"field":"a","routes":{"a":""}}`, `{"field":"a","routes":{"a":"b"},"x":1}`,
		`{"field":"a","routes":{"a":"b"},"copy":"yes"}`, `[`,
	} {
		if _, err := wasmilltest.Start(t, newRouter(), wasmilltest.Config(config)); err == nil {
			t.Errorf("%s is accepted", config)
		}
	}
}

func FuzzTopicAgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{`{"a":"x"}`, `{"\u0061":"x","a":"y"}`, `{"a":7}`, `{"a":null}`, `{"b":{"a":"x"}}`, `x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		x := &router{}
		if err := x.init([]byte(`{"field":"a","routes":{"x":"t-x","7":"t-7","null":"t-null"}}`)); err != nil {
			t.Fatal(err)
		}
		want := ""
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) == nil && object["a"] != nil {
			var text string
			if raw := object["a"]; json.Unmarshal(raw, &text) != nil || string(raw) == "null" {
				text = string(raw)
			}
			want = x.routes[text]
		}
		if got := x.topic(value); got != want {
			t.Fatalf("%q goes to %q, want %q", value, got, want)
		}
	})
}
