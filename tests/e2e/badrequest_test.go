package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
)

// refused is a request that must be refused, and how.
type refused struct {
	method, path string
	contentType  string // "" sends none
	body         string
	want         refusal
	fields       map[string]any // members that the answer must have besides
}

func (r refused) run(t *testing.T, b *harness.Broker) {
	t.Helper()
	var headers []string
	if r.contentType != "" {
		headers = []string{"Content-Type", r.contentType}
	}
	p := r.want.expect(t, call(t, b, r.method, r.path, []byte(r.body), headers...))
	for name, want := range r.fields {
		if fmt.Sprint(p[name]) != fmt.Sprint(want) {
			t.Errorf("%s is %v instead of %v: %v", name, p[name], want, p["detail"])
		}
	}
}

func runRefused(t *testing.T, cases map[string]refused) {
	t.Helper()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	c := b.Client(t)
	topic(t, c, "orders", 2)
	for name, r := range cases {
		t.Run(name, func(t *testing.T) {
			r.run(t, b)
			w.check(t, b)
		})
	}
	expectValues(t, "orders", everywhere(t, c, "orders"))
	if topics := must(c.Topics(deadline(t)))(t); len(topics) != 2 {
		t.Errorf("%d topics are there instead of 2", len(topics))
	}
	w.survive(t, b)
}

func TestBrokenJSON(t *testing.T) {
	t.Parallel()
	const records = "/v1/topics/orders/records"
	syntax := func(says ...string) refusal { return refusal{code: errcode.InvalidJSON, says: says} }
	at := func(position, line, column int) map[string]any {
		return map[string]any{"position": position, "line": line, "column": column}
	}
	runRefused(t, map[string]refused{
		"missing value":       {"POST", records, typeJSON, `{"records":[{"key":"a","value":}]}`, syntax("line 1, column 32", "'}'"), at(31, 1, 32)},
		"on a later line":     {"POST", records, typeJSON, "{\"records\":[\n {\"value\":1},\n {\"value\" 2}]}", syntax("line 3"), at(37, 3, 11)},
		"cut off":             {"POST", records, typeJSON, `{"records":[{"value":"a`, syntax("line 1"), nil},
		"trailing garbage":    {"POST", records, typeJSON, `{"records":[{"value":1}]} x`, syntax("column 27"), at(26, 1, 27)},
		"not an object":       {"POST", records, typeJSON, `[1]`, syntax(), nil},
		"no records":          {"POST", records, typeJSON, `{"records":[]}`, refusal{code: errcode.InvalidRequest, says: []string{"no records"}}, nil},
		"empty body":          {"POST", records, typeJSON, ``, syntax(), nil},
		"deep nesting":        {"POST", records, typeJSON, `{"records":[{"value":` + strings.Repeat("[", 100_000) + `}]}`, syntax("line 1"), nil},
		"not base64":          {"POST", records, typeJSON, `{"records":[{"value_b64":"?"}]}`, syntax("column 26", "base64"), nil},
		"value twice":         {"POST", records, typeJSON, `{"records":[{"value":1,"value_b64":"eA=="}]}`, syntax("value"), nil},
		"unknown member":      {"POST", records, typeJSON, `{"records":[{"vlaue":1}]}`, syntax("vlaue"), nil},
		"bad partition":       {"POST", records, typeJSON, `{"records":[{"partition":"x","value":1}]}`, syntax("partition"), nil},
		"bad UTF-8":           {"POST", records, typeJSON, "{\"records\":[{\"value\":\"\xff\"}]}", syntax("UTF-8"), nil},
		"NDJSON second line":  {"POST", records, typeNDJSON, "{\"value\":1}\n{\"value\":}\n", syntax("line 2"), map[string]any{"line": 2, "column": 10}},
		"topic spec":          {"POST", "/v1/topics", typeJSON, `{"name":"x",}`, syntax("line 1"), nil},
		"topic spec mistyped": {"POST", "/v1/topics", typeJSON, `{"name":"x","partitions":"many"}`, syntax("partitions"), nil},
		"topic spec misspelt": {"POST", "/v1/topics", typeJSON, `{"name":"x","partition":3}`, syntax("partition"), nil},
		"fetch request":       {"POST", "/v1/fetch", typeJSON, `{"partitions":[{]}`, syntax("line 1"), nil},
		"pipeline":            {"PUT", "/v1/topics/orders/pipeline", typeJSON, `{"stages":`, syntax("line 1"), nil},
		"module config":       {"GET", "/v1/topics/orders/partitions/0/records?module=m&module_config={", "", ``, syntax("module_config"), nil},
	})
}

func TestWrongContentType(t *testing.T) {
	t.Parallel()
	wrong := func(says ...string) refusal { return refusal{code: errcode.UnsupportedMediaType, says: says} }
	runRefused(t, map[string]refused{
		"form":                {"POST", "/v1/topics/orders/records", "application/x-www-form-urlencoded", "a=b", wrong("application/json", typeBatches), nil},
		"multipart":           {"POST", "/v1/topics/orders/records", "multipart/form-data; boundary=x", "--x--", wrong("application/json"), nil},
		"fetch answer":        {"POST", "/v1/topics/orders/records", typeFetch, "x", wrong(typeBatches), nil},
		"topic as text":       {"POST", "/v1/topics", "text/plain", `{"name":"x"}`, wrong("text/plain", typeJSON), nil},
		"module as JSON":      {"PUT", "/v1/modules/m", typeJSON, `{}`, wrong(typeWasm), nil},
		"fetch body as batch": {"POST", "/v1/fetch", typeBatches, "x", wrong(typeJSON), nil},
	})
}

func TestUnknownAndInvalidNames(t *testing.T) {
	t.Parallel()
	unknown := func(says ...string) refusal {
		return refusal{code: errcode.UnknownTopicOrPartition, says: says}
	}
	bad := func(says ...string) refusal { return refusal{code: errcode.InvalidTopic, says: says} }
	const records = `{"records":[{"value":1}]}`
	create := func(name string) string { return `{"name":"` + name + `"}` }
	runRefused(t, map[string]refused{
		"empty name":        {"POST", "/v1/topics", typeJSON, create(""), bad(), nil},
		"slash":             {"POST", "/v1/topics", typeJSON, create("a/b"), bad("a/b"), nil},
		"blank":             {"POST", "/v1/topics", typeJSON, create("a b"), bad("a b"), nil},
		"dot":               {"POST", "/v1/topics", typeJSON, create("."), bad(), nil},
		"dots":              {"POST", "/v1/topics", typeJSON, create(".."), bad(), nil},
		"too long":          {"POST", "/v1/topics", typeJSON, create(strings.Repeat("x", 250)), bad("249"), nil},
		"not ASCII":         {"POST", "/v1/topics", typeJSON, create("ä"), bad(), nil},
		"taken":             {"POST", "/v1/topics", typeJSON, create("orders"), refusal{code: errcode.TopicAlreadyExists, says: []string{"orders"}}, nil},
		"no partitions":     {"POST", "/v1/topics", typeJSON, `{"name":"x","partitions":-1}`, refusal{code: errcode.InvalidPartitions, says: []string{"-1"}}, nil},
		"replication":       {"POST", "/v1/topics", typeJSON, `{"name":"x","replication":3}`, refusal{code: errcode.InvalidReplicationFactor, says: []string{"3"}}, nil},
		"config":            {"POST", "/v1/topics", typeJSON, `{"name":"x","config":{"retention.sm":"1"}}`, refusal{code: errcode.InvalidConfig, says: []string{"retention.sm"}}, nil},
		"produce topic":     {"POST", "/v1/topics/nowhere/records", typeJSON, records, unknown("nowhere", "create"), nil},
		"produce partition": {"POST", "/v1/topics/orders/records?partition=2", typeJSON, records, unknown("orders", "0 to 1"), nil},
		"partition in JSON": {"POST", "/v1/topics/orders/records", typeJSON, `{"records":[{"value":1,"partition":9}]}`, unknown("9"), nil},
		"negative partiton": {"POST", "/v1/topics/orders/records?partition=-1", typeJSON, records, refusal{code: errcode.InvalidRequest, says: []string{"-1"}}, nil},
		"no number":         {"POST", "/v1/topics/orders/records?partition=x", typeJSON, records, refusal{code: errcode.InvalidRequest, says: []string{"partition", "x"}}, nil},
		"unknown parameter": {"POST", "/v1/topics/orders/records?partiton=1", typeJSON, records, refusal{code: errcode.InvalidRequest, says: []string{"partiton", "partition"}}, nil},
		"fetch topic":       {"GET", "/v1/topics/nowhere/partitions/0/records", "", "", unknown("nowhere"), nil},
		"fetch partition":   {"GET", "/v1/topics/orders/partitions/7/records", "", "", unknown("0 to 1"), nil},
		"fetch follow":      {"GET", "/v1/topics/nowhere/partitions/0/records?follow=true", "", "", unknown("nowhere"), nil},
		"get topic":         {"GET", "/v1/topics/nowhere", "", "", unknown("nowhere"), nil},
		"delete topic":      {"DELETE", "/v1/topics/nowhere", "", "", unknown("nowhere"), nil},
		"pipeline topic":    {"PUT", "/v1/topics/nowhere/pipeline", typeJSON, `{"stages":[]}`, unknown("nowhere"), nil},
		"unknown module":    {"PUT", "/v1/topics/orders/pipeline", typeJSON, `{"stages":[{"module":"none"}]}`, refusal{code: errcode.UnknownModule, says: []string{"none"}}, nil},
		"view of nothing":   {"PUT", "/v1/views/v", typeJSON, `{"topic":"nowhere","stages":[]}`, unknown("nowhere"), nil},
		"unknown view":      {"GET", "/v1/views/v", "", "", refusal{code: errcode.UnknownView, says: []string{"v"}}, nil},
		"no derivation":     {"GET", "/v1/derivations/d", "", "", refusal{code: errcode.UnknownDerivation, says: []string{"d"}}, nil},
		"unknown address":   {"GET", "/v2/topics", "", "", refusal{code: errcode.NotFound, says: []string{"/v2/topics"}}, nil},
		"wrong method":      {"PUT", "/v1/topics/orders", typeJSON, `{}`, refusal{code: errcode.MethodNotAllowed, says: []string{"GET"}}, nil},
	})
}

// An offset that is not there is answered with those that are.
func TestOffsetOutOfRange(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{Args: []string{"--maintain-every", "100ms"}})
	w := newWitness(t, b)
	c := b.Client(t)
	must(c.CreateTopic(deadline(t), client.TopicSpec{Name: "orders", Config: map[string]string{
		"segment.bytes": "65536", "retention.bytes": "100000",
	}}))(t)
	topic(t, c, "empty", 1)
	end := int64(0)
	for range 40 {
		end = produce(t, c, "orders", 0, strings.Repeat("x", 20_000)) + 1
	}
	start := awaitLogStart(t, c, "orders")
	bounds := map[string]any{"log_start_offset": start, "high_watermark": end}
	none := map[string]any{"log_start_offset": 0, "high_watermark": 0}
	out := func(offset int64) refusal {
		return refusal{code: errcode.OffsetOutOfRange, says: []string{fmt.Sprint(offset), "earliest"}}
	}
	const path = "/v1/topics/orders/partitions/0/records?offset="
	for name, r := range map[string]refused{
		"before the start":    {"GET", path + "0", "", "", out(0), bounds},
		"just before":         {"GET", path + fmt.Sprint(start-1), "", "", out(start - 1), bounds},
		"past the end":        {"GET", path + fmt.Sprint(end+1), "", "", out(end + 1), bounds},
		"far past the end":    {"GET", path + "9223372036854775807", "", "", out(9223372036854775807), bounds},
		"past, waiting":       {"GET", path + fmt.Sprint(end+1) + "&wait=30s", "", "", out(end + 1), bounds},
		"past, following":     {"GET", path + fmt.Sprint(end+1) + "&follow=true", "", "", out(end + 1), bounds},
		"past the end, empty": {"GET", "/v1/topics/empty/partitions/0/records?offset=1", "", "", out(1), none},
		"no number":           {"GET", path + "soon", "", "", refusal{code: errcode.InvalidRequest, says: []string{"soon", "earliest"}}, nil},
		"negative":            {"GET", path + "-1", "", "", refusal{code: errcode.InvalidRequest, says: []string{"-1"}}, nil},
		"over 64 bits":        {"GET", path + "9223372036854775808", "", "", refusal{code: errcode.InvalidRequest}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r.run(t, b)
			a := call(t, b, r.method, r.path, nil)
			if len(r.fields) > 0 && (a.Header.Get("Wasmill-Log-Start-Offset") != fmt.Sprint(r.fields["log_start_offset"]) ||
				a.Header.Get("Wasmill-High-Watermark") != fmt.Sprint(r.fields["high_watermark"])) {
				t.Errorf("headers %v", a.Header)
			}
		})
	}
	res := must(c.Fetch(deadline(t), client.FetchRequest{Partitions: []client.FetchFrom{
		{Topic: "orders", Offset: 0}, {Topic: "orders", Offset: start}, {Topic: "nowhere"},
	}}))(t)
	defer res.Release()
	var low, high int64
	if e := res.Partitions[0].Error; e == nil || e.Code != errcode.OffsetOutOfRange ||
		!e.Field("log_start_offset", &low) || !e.Field("high_watermark", &high) || low != start || high != end {
		t.Errorf("partition out of range: %+v", e)
	}
	if p := res.Partitions[1]; p.Error != nil || len(p.Batches) == 0 {
		t.Errorf("its neighbour: %+v", p.Error)
	}
	if e := res.Partitions[2].Error; e == nil || e.Code != errcode.UnknownTopicOrPartition {
		t.Errorf("unknown topic: %+v", e)
	}
	w.survive(t, b)
}

// awaitLogStart waits until retention has dropped what it will and returns the log start offset.
func awaitLogStart(t *testing.T, c *client.Client, name string) int64 {
	t.Helper()
	last, same := int64(0), 0
	for same < 4 {
		// A long poll at the end is answered when its time is up: some rounds of retention later.
		res := must(c.FetchPartition(deadline(t), client.PartitionFetch{Topic: name, Offset: client.Latest, Wait: 250 * time.Millisecond}))(t)
		start := res.Partitions[0].LogStartOffset
		res.Release()
		if start > 1 && start == last {
			same++
		} else {
			last, same = start, 0
		}
	}
	return last
}
