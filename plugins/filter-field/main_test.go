package main

import (
	"encoding/json"
	"testing"

	"github.com/wasmill/wasmill/sdk/go/wasmilltest"
)

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		name, config string
		kept, rest   []string
	}{
		{"equals a string", `{"field":"a","equals":"x"}`,
			[]string{`{"a":"x"}`, `{"a":"\u0078"}`}, []string{`{"a":"xx"}`, `{"a":["x"]}`, `{"b":"x"}`, `{"b":{"a":"x"}}`, ``, `x`}},
		{"equals a number", `{"field":"a","equals":1}`, []string{`{"a":1}`}, []string{`{"a":1.0}`, `{"a":true}`}},
		{"equals null", `{"field":"a","equals":null}`, []string{`{"a":null}`}, []string{`{}`, `{"a":0}`}},
		{"in", `{"field":"a","in":["x",2]}`, []string{`{"a":"x"}`, `{"a":2}`}, []string{`{"a":"y"}`, `{}`}},
		{"in nothing", `{"field":"a","in":[]}`, nil, []string{`{"a":""}`, `{}`}},
		{"equals and in", `{"field":"a","equals":"x","in":["x","y"]}`, []string{`{"a":"x"}`}, []string{`{"a":"y"}`}},
		{"matches", `{"field":"n","matches":"^lib.*-dev$"}`, []string{`{"n":"libx-dev"}`}, []string{`{"n":"libx"}`, `{}`}},
		{"min", `{"field":"a.b","min":10}`, []string{`{"a":{"b":10}}`, `{"a":{"b":1e9}}`}, []string{`{"a":{"b":9.9}}`, `{"a":{"b":"11"}}`, `{"a":{"b":1e999}}`}},
		{"range", `{"field":"a","min":-1,"max":1.5}`, []string{`{"a":-1}`, `{"a":1.5}`}, []string{`{"a":-1.1}`, `{"a":2}`, `{"a":null}`}},
		{"exists", `{"field":"a","exists":true}`, []string{`{"a":null}`}, []string{`{}`, `[]`}},
		{"does not exist", `{"field":"a","exists":false}`, []string{`{}`, `[]`, `broken`}, []string{`{"a":null}`}},
		{"all tests", `{"field":"a","matches":"^1","max":15}`, []string{`{"a":12}`}, []string{`{"a":16}`, `{"a":2}`}},
		{"inverted", `{"field":"a","equals":"x","invert":true}`, []string{`{"a":"y"}`, `{}`, `broken`}, []string{`{"a":"x"}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := wasmilltest.New(t, newFilter(), wasmilltest.Config(c.config))
			for _, value := range c.kept {
				if got := run.Values(value); got.Verdict(0) != wasmilltest.Kept {
					t.Errorf("%s is %s", value, got.Verdict(0))
				}
			}
			for _, value := range c.rest {
				if got := run.Values(value); got.Verdict(0) != wasmilltest.Dropped {
					t.Errorf("%s is %s", value, got.Verdict(0))
				}
			}
		})
	}
}

func TestInvalidIsRejectedOnDemand(t *testing.T) {
	run := wasmilltest.New(t, newFilter(), wasmilltest.Config(`{"field":"a","equals":1,"on_invalid":"reject"}`))
	code, message, ok := run.Values(`{"a":}`).Rejection(0)
	if !ok || code != codeNotJSON || message != "the value is not valid JSON at byte 5" {
		t.Errorf("%d %q %v", code, message, ok)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for _, config := range []string{
		`{}`, `{"field":"a"}`, `{"equals":"x"}`, `{"field":"a","matches":"("}`, `{"field":"a","min":"1"}`, `{"field":"a","min":1e999}`,
		`{"field":"a","equals":[]}`, `{"field":"a","equal":1}`, `{"field":"a","equals":1,"on_invalid":"keep"}`, `{"field":"a","in":[1`,
	} {
		if _, err := wasmilltest.Start(t, newFilter(), wasmilltest.Config(config)); err == nil {
			t.Errorf("%s is accepted", config)
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	x := &filter{}
	if err := x.init([]byte(`{"field":"a","equals":"x","max":3}`)); err != nil {
		t.Fatal(err)
	}
	value := []byte(`{"b":[1,2,{"c":"d"}],"a":"y"}`)
	n := testing.AllocsPerRun(100, func() {
		raw, _ := x.field.Find(value)
		x.passes(raw)
	})
	if n != 0 {
		t.Errorf("%v allocations per record", n)
	}
}

func FuzzRangeAgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, `{"a":-1e3}`, `{"a":"1"}`, `{"a":1,"a":9}`, `{"a":1e999}`, `{"a":`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		x := &filter{}
		if err := x.init([]byte(`{"field":"a","min":0.5,"max":5}`)); err != nil {
			t.Fatal(err)
		}
		var object map[string]json.RawMessage
		var number float64
		want := json.Unmarshal(value, &object) == nil && object["a"] != nil && string(object["a"]) != "null" &&
			json.Unmarshal(object["a"], &number) == nil && number >= 0.5 && number <= 5
		raw, _ := x.field.Find(value)
		if got := x.passes(raw); got != want {
			t.Fatalf("%q passes: %v, want %v", value, got, want)
		}
	})
}
