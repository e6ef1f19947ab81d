package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

func TestModulesThatAreRefused(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	good := wasmtest.Identity()
	wrongType := wasmtest.New()
	wrongType.Func("wasmill_alloc", wasmtest.I64, wasmtest.I32, 0, func(c *wasmtest.Code) { c.I32(0) })
	wrongType.Func("wasmill_process_v1", wasmtest.I32+wasmtest.I32, wasmtest.I64, 0, func(c *wasmtest.Code) { c.I64(0) })
	for name, tc := range map[string]struct {
		wasm []byte
		says []string
	}{
		"text":             {[]byte("(module)"), []string{"not WebAssembly"}},
		"empty":            {nil, nil},
		"ELF":              {[]byte("\x7fELF\x02\x01\x01\x00aaaaaaaaaaaaaaaa"), []string{"not WebAssembly"}},
		"component":        {[]byte("\x00asm\x0d\x00\x01\x00"), []string{"component"}},
		"newer version":    {[]byte("\x00asm\x02\x00\x00\x00"), nil},
		"header alone":     {good[:8], []string{"memory"}},
		"cut off":          {good[:len(good)-20], nil},
		"section too long": {append(bytes.Clone(good), 0, 0xff, 0xff, 0xff, 0xff, 0x0f), nil},
		"no memory":        {wasmtest.With(wasmtest.Parts{NoMemory: true}), []string{"memory"}},
		"no alloc":         {wasmtest.With(wasmtest.Parts{NoAlloc: true}), []string{"wasmill_alloc"}},
		"no process":       {wasmtest.With(wasmtest.Parts{NoProcess: true}), []string{"wasmill_process_v1"}},
		"wrong signature":  {wrongType.Bytes(), []string{"wasmill_alloc"}},
		"unknown import":   {wasmtest.With(wasmtest.Parts{Imports: [][4]string{{"env", "abort", "", ""}}}), []string{"env", "abort"}},
		"too much memory":  {wasmtest.With(wasmtest.Parts{Memory: [2]int{65536, 65536}}), []string{"memory"}},
		"too large table":  {wasmtest.With(wasmtest.Parts{Tables: []int{1 << 30}}), []string{"table"}},
		"nonsense code":    {wasmtest.With(wasmtest.Parts{Process: func(c *wasmtest.Code) { c.Add() }}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			says := append([]string{"bad-one"}, tc.says...)
			refusal{code: errcode.InvalidModule, says: says}.
				expect(t, call(t, b, "PUT", "/v1/modules/bad-one", tc.wasm, "Content-Type", typeWasm))
			w.check(t, b)
		})
	}
	if all := must(b.Client(t).Modules(deadline(t)))(t); len(all) != 0 {
		t.Errorf("refused modules are listed: %+v", all)
	}
	w.survive(t, b)
}

// emit returns an action that makes a record of value bytes at an address.
func emit(flags byte, value, size uint32) []byte {
	a := wasmtest.Action(3, flags, 0)
	binary.LittleEndian.PutUint32(a[20:], 0)
	binary.LittleEndian.PutUint32(a[28:], value)
	binary.LittleEndian.PutUint32(a[32:], size)
	return a
}

// route returns an action that sends the record to the topic named at an address.
func route(topicAt, size uint32) []byte {
	a := wasmtest.Action(2, 0, 0)
	binary.LittleEndian.PutUint32(a[8:], topicAt)
	binary.LittleEndian.PutUint32(a[12:], size)
	return a
}

// giant is a module whose memory is large enough to emit a record of size bytes.
func giant(size uint32) []byte {
	answer := wasmtest.Answer(emit(4+16, 64<<10, size))
	return wasmtest.With(wasmtest.Parts{
		Memory: [2]int{int(size>>16) + 3, 0}, Data: string(answer),
		Process: func(c *wasmtest.Code) { c.I64(wasmtest.DataAt<<32 | int64(len(answer))) },
	})
}

// What a module does wrong befalls the record that it does it with, and no other.
func TestModulesThatMisbehave(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	c := b.Client(t)
	keep := wasmtest.Action(1, 0, 0)
	reject := wasmtest.Action(4, 0, 0)
	many := make([][]byte, 17)
	for i := range many {
		many[i] = emit(4+8+16, 0, 0)
	}
	said := wasmtest.Says
	lying := wasmtest.Answer(keep)
	lying[8] = 200
	for name, tc := range map[string]struct {
		wasm []byte
		says string
	}{
		"traps":                   {wasmtest.With(wasmtest.Parts{Process: func(c *wasmtest.Code) { c.Unreachable().I64(0) }}), "unreachable"},
		"reads out of its memory": {wasmtest.With(wasmtest.Parts{Process: func(c *wasmtest.Code) { c.I32(-8).Load32(0).Drop().I64(0) }}), "out of bounds"},
		"alloc out of bounds":     {wasmtest.With(wasmtest.Parts{Alloc: func(c *wasmtest.Code) { c.I32(0x7ffffff8) }}), ""},
		"alloc not aligned":       {wasmtest.With(wasmtest.Parts{Alloc: func(c *wasmtest.Code) { c.I32(2049) }}), ""},
		"output out of bounds":    {said(nil, 0x7ffffff0<<32|64), "output"},
		"output too short":        {said(nil, 1024<<32|8), "output"},
		"count that lies":         {said(lying, 0), "200 actions"},
		"kept twice":              {said(wasmtest.Answer(keep, keep), 0), "kept twice"},
		"kept and rejected":       {said(wasmtest.Answer(keep, reject), 0), "rejected"},
		"rejected and emitted":    {said(wasmtest.Answer(reject, emit(4+8+16, 0, 0)), 0), "rejected"},
		"no such record":          {said(wasmtest.Answer(wasmtest.Action(1, 0, 7)), 0), "record 7"},
		"unknown kind":            {said(wasmtest.Answer(wasmtest.Action(9, 0, 0)), 0), "kind 9"},
		"unknown flags":           {said(wasmtest.Answer(wasmtest.Action(1, 0x80, 0)), 0), "flags"},
		"value out of bounds":     {said(wasmtest.Answer(emit(4+16, 0xfffffff0, 64)), 0), "bounds"},
		"topic out of bounds":     {said(wasmtest.Answer(route(0xfffffff0, 8)), 0), "topic"},
		"topic that cannot be":    {said(append(wasmtest.Answer(route(8<<10+80, 3)), "a/b"...), 8<<42|80), "a/b"},
		"unknown topic":           {said(append(wasmtest.Answer(route(8<<10+80, 7)), "nowhere"...), 8<<42|80), "nowhere"},
		"too many actions":        {said(wasmtest.Answer(many...), 0), "16"},
		"too large a record":      {giant(9 << 20), "8388608"},
	} {
		t.Run(name, func(t *testing.T) {
			topicName := "misbehave-" + strings.ReplaceAll(name, " ", "-")
			topic(t, c, topicName, 1)
			must(c.PutModule(deadline(t), topicName, tc.wasm))(t)
			must(c.SetPipeline(deadline(t), topicName, []client.Stage{{Module: topicName}}))(t)
			p := refusal{code: errcode.InvalidRecord, says: []string{"every record was rejected", "nothing was written"}}.
				expect(t, call(t, b, "POST", "/v1/topics/"+topicName+"/records", []byte("x"), "Content-Type", "text/plain"))
			rejected, _ := json.Marshal(p["rejected"])
			if s := string(rejected); !strings.Contains(s, tc.says) || !strings.Contains(s, topicName+"@1") {
				t.Errorf("the record was rejected with %s, which does not say %q or the module", s, tc.says)
			}
			if got := rows(t, c, topicName, 0); len(got) != 0 {
				t.Errorf("%+v was written", got)
			}
			w.check(t, b)
		})
	}
	w.survive(t, b)
}

// Every policy, for a record that traps among good ones.
func TestOnErrorHitsTheGuiltyRecordAlone(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	c := b.Client(t)
	topic(t, c, "dead", 1)
	must(c.PutModule(deadline(t), "commands", wasmtest.Commands(0)))(t)
	sent := []string{"good 0", "trap 1", "good 2", "bail 3", "out of bounds 4", "x to nowhere 5", "good 6", "r refused 7", "d dropped 8"}
	for _, tc := range []struct {
		policy   string
		kept     []string
		rejected []int
		dropped  []int
		dead     []string
	}{
		{"reject", []string{"good 0", "good 2", "good 6"}, []int{1, 3, 4, 5, 7}, []int{8}, nil},
		{"skip", []string{"good 0", "trap 1", "good 2", "bail 3", "out of bounds 4", "x to nowhere 5", "good 6"}, []int{7}, []int{8}, nil},
		{"drop", []string{"good 0", "good 2", "good 6"}, []int{7}, []int{1, 3, 4, 5, 8}, nil},
		{"dead_letter", []string{"good 0", "good 2", "good 6"}, nil, []int{8}, []string{"trap 1", "bail 3", "out of bounds 4", "x to nowhere 5", "r refused 7"}},
	} {
		t.Run(tc.policy, func(t *testing.T) {
			name := "policy-" + strings.ReplaceAll(tc.policy, "_", "-")
			topic(t, c, name, 1)
			stage := client.Stage{Module: "commands@1", OnError: client.OnError(tc.policy)}
			if tc.policy == "dead_letter" {
				stage.DeadLetterTopic = "dead"
			}
			must(c.SetPipeline(deadline(t), name, []client.Stage{stage}))(t)
			res := must(c.ProduceBatches(deadline(t), name, 0, batch(t, record.BuilderOptions{}, sent...)))(t)
			expectValues(t, "kept", values(rows(t, c, name, 0)), tc.kept...)
			var rejected []int
			for _, r := range res.Rejected {
				rejected = append(rejected, r.Index)
				if r.Module != "commands@1" || r.Message == "" {
					t.Errorf("rejected without module or reason: %+v", r)
				}
			}
			if fmt.Sprint(rejected, res.Dropped) != fmt.Sprint(tc.rejected, tc.dropped) {
				t.Errorf("rejected %v, dropped %v instead of %v, %v", rejected, res.Dropped, tc.rejected, tc.dropped)
			}
			letters := rows(t, c, "dead", 0)
			expectValues(t, "dead letters", values(letters), tc.dead...)
			for _, l := range letters {
				h := map[string]string{}
				for _, kv := range l.Headers {
					h[string(kv.Key)] = string(kv.Value)
				}
				if h["wasmill.topic"] != name || h["wasmill.module"] != "commands@1" || h["wasmill.error.message"] == "" {
					t.Errorf("dead letter %q has headers %q", l.Value, h)
				}
			}
			w.check(t, b)
		})
	}
	w.survive(t, b)
}

// A module that does not take its configuration never becomes part of a pipeline.
func TestConfigurationThatIsRefused(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 1)
	must(c.PutModule(deadline(t), "picky", wasmtest.With(wasmtest.Parts{Init: func(c *wasmtest.Code) { c.I32(7) }})))(t)
	refusal{code: errcode.InvalidPipeline, says: []string{"picky", "7"}}.
		expect(t, call(t, b, "PUT", "/v1/topics/orders/pipeline", []byte(`{"stages":[{"module":"picky","config":{"a":1}}]}`), "Content-Type", typeJSON))
	refusal{code: errcode.InvalidPipeline, says: []string{"dead_letter"}}.
		expect(t, call(t, b, "PUT", "/v1/topics/orders/pipeline", []byte(`{"stages":[{"module":"picky","on_error":"dead_letter"}]}`), "Content-Type", typeJSON))
	produce(t, c, "orders", 0, "still written")
	expectValues(t, "orders", values(rows(t, c, "orders", 0)), "still written")
	refusal{code: errcode.InvalidPipeline, says: []string{"picky"}}.
		expect(t, call(t, b, "PUT", "/v1/views/v", []byte(`{"topic":"orders","stages":[{"module":"picky"}]}`), "Content-Type", typeJSON))
}
