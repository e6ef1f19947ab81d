package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

func TestProduceAndFetchBatches(t *testing.T) {
	ts := serve(t, Options{Leader: "127.0.0.1:8640"})
	raw := batch(t, 3)
	a := ts.want(http.StatusOK, ts.do("POST", "/v1/topics/t/records?partition=1", bytes.NewReader(raw), "Content-Type", mediaBatches))
	if got, want := string(a.body), `{"topic":"t","partitions":[{"partition":1,"base_offset":0,"count":3}]}`; got != want {
		t.Errorf("produce answered %s, want %s", got, want)
	}
	ts.want(http.StatusOK, ts.do("POST", "/v1/topics/t/records?partition=1", bytes.NewReader(raw), "Content-Type", mediaBatches))

	a = ts.want(http.StatusOK, ts.get("/v1/topics/t/partitions/1/records?offset=4", "Accept", mediaBatches))
	b, rest, err := record.Split(a.body)
	if err != nil || len(rest) != 0 {
		t.Fatalf("fetched %d bytes beyond a batch: %v", len(rest), err)
	}
	if b.BaseOffset() != 3 || b.LeaderEpoch() != 7 {
		t.Errorf("base offset %d, leader epoch %d; want 3 and 7", b.BaseOffset(), b.LeaderEpoch())
	}
	if err := b.Validate(record.DefaultLimits()); err != nil {
		t.Errorf("the batch was released before it was written: %v", err)
	}
	for name, want := range map[string]string{headerHighWatermark: "6", headerLogStart: "0", headerNextOffset: "6", headerLeader: "127.0.0.1:8640"} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// roundTrip lists values in their JSON form, the bytes they become, and the form that a fetch gives.
var roundTrip = []struct{ sent, stored, fetched string }{
	{`"value":"abc"`, "abc", `"value":"abc"`},
	{`"value":""`, "", `"value":""`},
	{`"value":{"a": [1, 2 , {"b":null}] }`, `{"a":[1,2,{"b":null}]}`, `"value":{"a":[1,2,{"b":null}]}`},
	{`"value": [ ]`, `[]`, `"value":[]`},
	{`"value":12.50e1`, `12.50e1`, `"value":12.50e1`},
	{`"value":123456789012345678901234567890`, `123456789012345678901234567890`, `"value":123456789012345678901234567890`},
	{`"value":true`, `true`, `"value":true`},
	{`"value":"true"`, `true`, `"value":true`},
	{`"value":"null"`, `null`, `"value":"null"`},
	{`"value":"\"quoted\""`, `"quoted"`, `"value":"\"quoted\""`},
	{`"value":"{broken"`, `{broken`, `"value":"{broken"`},
	{`"value":"1 2"`, `1 2`, `"value":"1 2"`},
	{`"value":"a\n\t\u0001\"\\\/\ud83d\ude00ü"`, "a\n\t\x01\"\\/\U0001F600ü", `"value":"a\n\t\u0001\"\\/` + "\U0001F600" + `ü"`},
	{`"value":"\ud800x"`, "\uFFFDx", "\"value\":\"\uFFFDx\""},
	{`"value_b64":"/wA="`, "\xff\x00", `"value_b64":"/wA="`},
	{`"value_b64":"YWJj"`, "abc", `"value":"abc"`},
}

func TestJSONRoundTrip(t *testing.T) {
	ts := serve(t, Options{})
	for i, c := range roundTrip {
		body := `{"records":[{"partition":0,"timestamp":"2026-01-02T03:04:05.678+01:00","key":"k",` + c.sent + `}]}`
		ts.want(http.StatusOK, ts.post("/v1/topics/t/records", mediaJSON, body))
		recs := recordtest.Read(t, ts.fake.Partition("t", 0).Batches[i])
		if string(recs[0].Value) != c.stored || recs[0].Value == nil {
			t.Errorf("%s is stored as %q, want %q", c.sent, recs[0].Value, c.stored)
		}
	}
	a := ts.want(http.StatusOK, ts.get("/v1/topics/t/partitions/0/records?offset=0", "Accept", mediaNDJSON))
	lines := strings.Split(strings.TrimSuffix(string(a.body), "\n"), "\n")
	if len(lines) != len(roundTrip) {
		t.Fatalf("%d lines, want %d", len(lines), len(roundTrip))
	}
	for i, c := range roundTrip {
		if !strings.HasSuffix(lines[i], `"timestamp":"2026-01-02T02:04:05.678Z","key":"k",`+c.fetched+"}") {
			t.Errorf("%q is shown as %s, want %s", c.stored, lines[i], c.fetched)
		}
	}
	// What was fetched as JSON and produced again has the same bytes.
	ts.want(http.StatusOK, ts.post("/v1/topics/t/records?partition=1", mediaNDJSON, strings.NewReplacer(`"partition":0,`, "", `"offset"`, `"timestamp":0,"x"`).Replace(stripOffsets(t, lines))))
	p := ts.fake.Partition("t", 1)
	recs := recordtest.Read(t, p.Batches[0])
	for i, c := range roundTrip {
		if string(recs[i].Value) != c.stored {
			t.Errorf("after a round trip %q became %q", c.stored, recs[i].Value)
		}
	}
}

// stripOffsets leaves out what a fetch tells and a produce does not take.
func stripOffsets(t *testing.T, lines []string) string {
	t.Helper()
	var out strings.Builder
	for _, line := range lines {
		_, rest, ok := strings.Cut(line, `"timestamp"`)
		if !ok {
			t.Fatalf("no timestamp in %s", line)
		}
		out.WriteString(`{"timestamp"` + rest + "\n")
	}
	return out.String()
}

func TestProduceNullAndHeaders(t *testing.T) {
	ts := serve(t, Options{})
	body := `{"key":null,"value":null,"partition":0}

{"headers":{"a":"x","b":null,"a":{"n": 1}},"partition":0}` + "\r\n" +
		`{"headers":[{"key":"a","value":"x"},{"key_b64":"/w==","value_b64":"AA=="}],"partition":0,"timestamp":12}`
	ts.want(http.StatusOK, ts.post("/v1/topics/t/records", mediaNDJSON, body))
	a := ts.want(http.StatusOK, ts.get("/v1/topics/t/partitions/0/records"))
	var got struct {
		Records []struct {
			Key, Value *string
			Timestamp  string
			Headers    json.RawMessage
		}
	}
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if len(got.Records) != 3 || got.Records[0].Key != nil || got.Records[0].Value != nil || got.Records[0].Headers != nil {
		t.Fatalf("got %s", a.body)
	}
	if want := `[{"key":"a","value":"x"},{"key":"b","value":null},{"key":"a","value":"{\"n\":1}"}]`; string(got.Records[1].Headers) != want {
		t.Errorf("headers %s, want %s", got.Records[1].Headers, want)
	}
	if want := "[{\"key\":\"a\",\"value\":\"x\"},{\"key_b64\":\"/w==\",\"value\":\"\\u0000\"}]"; string(got.Records[2].Headers) != want {
		t.Errorf("headers %s, want %s", got.Records[2].Headers, want)
	}
	if got.Records[2].Timestamp != "1970-01-01T00:00:00.012Z" {
		t.Errorf("timestamp %s", got.Records[2].Timestamp)
	}
}

func TestProduceRawValue(t *testing.T) {
	ts := serve(t, Options{})
	ts.want(http.StatusOK, ts.post("/v1/topics/t/records?partition=1", "text/plain; charset=utf-8", `{"not":  parsed`,
		"Wasmill-Key", "k1", "Wasmill-Header-Trace-Id", "T7"))
	ts.want(http.StatusOK, ts.post("/v1/topics/t/records?partition=1", "image/png", "", "Wasmill-Key-B64", base64.StdEncoding.EncodeToString([]byte{0xff})))
	recs := recordtest.Read(t, ts.fake.Partition("t", 1).Batches[0])
	r := recs[0]
	if string(r.Key) != "k1" || string(r.Value) != `{"not":  parsed` || len(r.Headers) != 1 ||
		string(r.Headers[0].Key) != "trace-id" || string(r.Headers[0].Value) != "T7" {
		t.Errorf("stored %+v", r)
	}
	recs = recordtest.Read(t, ts.fake.Partition("t", 1).Batches[1])
	if string(recs[0].Key) != "\xff" || recs[0].Value == nil || len(recs[0].Value) != 0 {
		t.Errorf("stored %+v", recs[0])
	}
	ts.wantCode(errcode.InvalidRequest, ts.post("/v1/topics/t/records", "text/plain", "x", "Wasmill-Key", "a", "Wasmill-Key-B64", "YQ=="))
	ts.wantCode(errcode.InvalidRequest, ts.post("/v1/topics/t/records", "text/plain", "x", "Wasmill-Key-B64", "***"))
}

func TestProduceRefusals(t *testing.T) {
	ts := serve(t, Options{MaxRecords: 3})
	for _, c := range []struct {
		name, path, contentType, body string
		code                          errcode.Code
	}{
		{"unknown topic", "/v1/topics/nope/records", mediaJSON, `{"records":[{}]}`, errcode.UnknownTopicOrPartition},
		{"partition is no number", "/v1/topics/t/records?partition=x", mediaJSON, `{"records":[{}]}`, errcode.InvalidRequest},
		{"negative partition", "/v1/topics/t/records?partition=-1", mediaJSON, `{"records":[{}]}`, errcode.InvalidRequest},
		{"unknown parameter", "/v1/topics/t/records?part=1", mediaJSON, `{"records":[{}]}`, errcode.InvalidRequest},
		{"form type", "/v1/topics/t/records", "application/x-www-form-urlencoded", `{"records":[{}]}`, errcode.UnsupportedMediaType},
		{"multipart", "/v1/topics/t/records", "multipart/form-data; boundary=x", `--x--`, errcode.UnsupportedMediaType},
		{"unknown vendor type", "/v1/topics/t/records", "application/vnd.wasmill.batch", `x`, errcode.UnsupportedMediaType},
		{"no batches", "/v1/topics/t/records", mediaBatches, ``, errcode.InvalidRequest},
		{"garbage batches", "/v1/topics/t/records", mediaBatches, strings.Repeat("x", 100), errcode.CorruptMessage},
		{"empty body", "/v1/topics/t/records", mediaJSON, ``, errcode.InvalidJSON},
		{"no records", "/v1/topics/t/records", mediaJSON, `{"records":[]}`, errcode.InvalidRequest},
		{"no lines", "/v1/topics/t/records", mediaNDJSON, "\n\n", errcode.InvalidRequest},
		{"too many records", "/v1/topics/t/records", mediaNDJSON, strings.Repeat("{}\n", 4), errcode.RecordListTooLarge},
		{"too many headers", "/v1/topics/t/records", mediaJSON, `{"records":[{"headers":[` + strings.TrimSuffix(strings.Repeat(`{"key":"a"},`, 13), ",") + `]}]}`, errcode.RecordListTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			ts.t = t
			ts.wantCode(c.code, ts.post(c.path, c.contentType, c.body))
		})
	}
	ts.wantCode(errcode.UnsupportedMediaType, ts.post("/v1/topics/t/records", mediaJSON, "x", "Content-Encoding", "gzip"))
	if n := ts.fake.Partition("t", 0).Next + ts.fake.Partition("t", 1).Next; n != 0 {
		t.Errorf("%d records were appended by refused requests", n)
	}
}

func TestProduceVerdicts(t *testing.T) {
	ts := serve(t, Options{})
	produce := func(change func(*broker.ProduceResult)) answer {
		ts.fake.OnResult = change
		return ts.post("/v1/topics/t/records", mediaJSON, `{"records":[{"partition":0},{"partition":1}]}`)
	}
	a := ts.want(http.StatusOK, produce(func(r *broker.ProduceResult) {
		r.Dropped = []int{1}
		r.Rejected = []broker.RejectedRecord{{Index: 2, Code: 9, Message: "bad \xff", Module: "m@1"}}
		r.Routed = []broker.RoutedRecord{{Index: 3, Topic: "o", Partition: 1, Offset: 5}}
		r.Partitions[0].Duplicate = true
	}))
	got := ts.object(a)
	if len(got["dropped"].([]any)) != 1 || len(got["rejected"].([]any)) != 1 || len(got["routed"].([]any)) != 1 {
		t.Errorf("answer %s", a.body)
	}
	// Some partitions failed, others did not.
	ts.want(http.StatusMultiStatus, produce(func(r *broker.ProduceResult) {
		r.Partitions[1] = broker.ProducedPartition{Partition: 1, BaseOffset: -1, Error: errcode.New(errcode.DiskFull, "full")}
	}))
	// All failed: the first error is the answer.
	a = produce(func(r *broker.ProduceResult) {
		for i := range r.Partitions {
			r.Partitions[i] = broker.ProducedPartition{Partition: int32(i), BaseOffset: -1, Error: errcode.New(errcode.DiskFull, "full").With("retry_after_ms", 1500)}
		}
	})
	p := ts.wantCode(errcode.DiskFull, a)
	if len(p["partitions"].([]any)) != 2 || a.Header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q, problem %v", a.Header.Get("Retry-After"), p)
	}
	// Every record was rejected.
	p = ts.wantCode(errcode.InvalidRecord, produce(func(r *broker.ProduceResult) {
		r.Partitions = []broker.ProducedPartition{{Partition: 0, BaseOffset: -1}}
		r.Rejected = []broker.RejectedRecord{{Index: 0, Message: "a"}, {Index: 1, Message: "b"}}
	}))
	if len(p["rejected"].([]any)) != 2 {
		t.Errorf("problem %v", p)
	}
}

func TestBrokerPressure(t *testing.T) {
	ts := serve(t, Options{})
	for _, c := range []struct {
		err   error
		code  errcode.Code
		after string
	}{
		{errcode.New(errcode.ThrottlingQuotaExceeded, "slow down").With("retry_after_ms", 2500), errcode.ThrottlingQuotaExceeded, "3"},
		{errcode.New(errcode.Overloaded, "busy").With("retry_after_ms", int64(10)), errcode.Overloaded, "1"},
		{errcode.New(errcode.NotLeaderOrFollower, "no leader"), errcode.NotLeaderOrFollower, "1"},
		{errcode.New(errcode.StorageFailed, "fsync"), errcode.StorageFailed, ""},
	} {
		ts.fake.OnProduce = func(context.Context) error { return c.err }
		a := ts.post("/v1/topics/t/records", mediaJSON, `{"records":[{}]}`)
		ts.wantCode(c.code, a)
		if got := a.Header.Get("Retry-After"); got != c.after {
			t.Errorf("%s: Retry-After %q, want %q", c.code, got, c.after)
		}
	}
}
