package httpapi

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

// fill produces batches of n records into t/0.
func (ts *testServer) fill(sizes ...int) {
	ts.t.Helper()
	for _, n := range sizes {
		ts.want(http.StatusOK, ts.do("POST", "/v1/topics/t/records?partition=0", bytes.NewReader(batch(ts.t, n)), "Content-Type", mediaBatches))
	}
}

// offsets are those of the records in a JSON answer.
func (ts *testServer) offsets(a answer) []int64 {
	ts.t.Helper()
	var v struct{ Records []struct{ Offset int64 } }
	if err := json.Unmarshal(a.body, &v); err != nil {
		ts.t.Fatalf("%v: %s", err, a.body)
	}
	var out []int64
	for _, r := range v.Records {
		out = append(out, r.Offset)
	}
	return out
}

func TestFetchOffsets(t *testing.T) {
	ts := serve(t, Options{})
	ts.fill(3, 3)
	for _, c := range []struct {
		query string
		want  []int64
	}{
		{"", []int64{0, 1, 2, 3, 4, 5}},
		{"?offset=earliest", []int64{0, 1, 2, 3, 4, 5}},
		{"?offset=latest", nil},
		{"?offset=4", []int64{4, 5}},
		{"?offset=2026-01-01T00:00:00Z", []int64{0, 1, 2, 3, 4, 5}},
		{"?offset=2027-01-01T00:00:00%2B01:00", nil},
		{"?offset=0&max_bytes=1", []int64{0, 1, 2}},
	} {
		a := ts.want(http.StatusOK, ts.get("/v1/topics/t/partitions/0/records"+c.query))
		if got := ts.offsets(a); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%q gives %v, want %v", c.query, got, c.want)
		}
	}
	ts.fake.Partition("t", 0).Start = 3
	for _, offset := range []string{"2", "7"} {
		a := ts.get("/v1/topics/t/partitions/0/records?offset=" + offset)
		p := ts.wantCode(errcode.OffsetOutOfRange, a)
		if p["log_start_offset"] != 3.0 || p["high_watermark"] != 6.0 || a.Header.Get(headerLogStart) != "3" || a.Header.Get(headerHighWatermark) != "6" {
			t.Errorf("offset %s: bounds are missing: %v %v", offset, p, a.Header)
		}
	}
	ts.wantCode(errcode.UnknownTopicOrPartition, ts.get("/v1/topics/t/partitions/9/records?offset=0"))
	ts.wantCode(errcode.UnknownTopicOrPartition, ts.get("/v1/topics/nope/partitions/0/records"))
	ts.wantCode(errcode.InvalidRequest, ts.get("/v1/topics/t/partitions/-1/records"))
	ts.wantCode(errcode.InvalidRequest, ts.get("/v1/topics/t/partitions/0/records?offset=-1"))
	ts.wantCode(errcode.NotAcceptable, ts.get("/v1/topics/t/partitions/0/records", "Accept", "image/png"))
	ts.wantCode(errcode.NotAcceptable, ts.get("/v1/topics/t/partitions/0/records?follow=true", "Accept", mediaBatches))
}

func TestFetchView(t *testing.T) {
	ts := serve(t, Options{})
	ts.fill(2)
	ts.want(http.StatusCreated, ts.put("/v1/modules/m", mediaWasm, "\x00asm"))
	ts.want(http.StatusCreated, ts.put("/v1/views/v", mediaJSON, `{"topic":"t","stages":[{"module":"m"}]}`))
	if got := ts.offsets(ts.want(http.StatusOK, ts.get("/v1/topics/v/partitions/0/records"))); len(got) != 2 {
		t.Errorf("the view gives %v", got)
	}
}

// A JSON answer ends at its limit and says where to go on.
func TestFetchJSONLimit(t *testing.T) {
	ts := serve(t, Options{MaxJSONBytes: 200})
	ts.fill(10)
	var got []int64
	for next := "0"; ; {
		a := ts.want(http.StatusOK, ts.get("/v1/topics/t/partitions/0/records?offset="+next))
		o := ts.offsets(a)
		if len(o) == 0 {
			break
		}
		if len(a.body) > 700 {
			t.Errorf("answer of %d bytes", len(a.body))
		}
		got = append(got, o...)
		next = a.Header.Get(headerNextOffset)
	}
	if fmt.Sprint(got) != "[0 1 2 3 4 5 6 7 8 9]" {
		t.Errorf("read %v", got)
	}
}

func TestLongPoll(t *testing.T) {
	ts := serve(t, Options{})
	waiting := make(chan struct{})
	ts.fake.OnFetch = func() { close(waiting) }
	got := make(chan answer, 1)
	go func() {
		got <- ts.get("/v1/topics/t/partitions/0/records?offset=0&wait=15s", "Accept", mediaBatches)
	}()
	<-waiting
	ts.fill(1)
	if a := <-got; a.StatusCode != http.StatusOK || len(a.body) == 0 || a.Header.Get(headerNextOffset) != "1" {
		t.Errorf("status %d, %d bytes, next %s", a.StatusCode, len(a.body), a.Header.Get(headerNextOffset))
	}
	started := time.Now()
	ts.fake.OnFetch = nil
	ts.want(http.StatusOK, ts.get("/v1/topics/t/partitions/0/records?offset=1&wait=20"))
	if d := time.Since(started); d < 20*time.Millisecond {
		t.Errorf("the fetch waited %v, want 20ms", d)
	}
}

func TestFetchMany(t *testing.T) {
	ts := serve(t, Options{Leader: "l:1"})
	ts.fill(2, 2)
	body := `{"partitions":[{"topic":"t","partition":0,"offset":3},{"topic":"t","partition":1,"offset":0},{"topic":"t","partition":0,"offset":99},{"topic":"nope","partition":0,"offset":0},{"topic":"t","partition":0,"offset":0,"max_bytes":1}],"wait_ms":5000}`
	a := ts.want(http.StatusOK, ts.post("/v1/fetch", mediaJSON, body))
	if a.Header.Get("Content-Type") != mediaFetch || a.Header.Get(headerLeader) != "l:1" {
		t.Errorf("headers %v", a.Header)
	}
	n := binary.LittleEndian.Uint32(a.body)
	var head struct {
		Partitions []struct {
			Topic      string
			NextOffset int64 `json:"next_offset"`
			High       int64 `json:"high_watermark"`
			Length     int
			Error      *errcode.Error
		}
	}
	if err := json.Unmarshal(a.body[4:4+n], &head); err != nil {
		t.Fatal(err)
	}
	rest := a.body[4+n:]
	wantBases := []int64{2, -1, -1, -1, 0}
	for i, p := range head.Partitions {
		if wantBases[i] < 0 {
			if p.Length != 0 {
				t.Errorf("partitions[%d] has %d bytes", i, p.Length)
			}
			continue
		}
		b := record.Batch(rest[:p.Length])
		if err := b.Validate(record.DefaultLimits()); err != nil || b.BaseOffset() != wantBases[i] {
			t.Errorf("partitions[%d]: base offset %d: %v", i, b.BaseOffset(), err)
		}
		rest = rest[p.Length:]
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes too many", len(rest))
	}
	if e := head.Partitions[2].Error; e == nil || e.Code != errcode.OffsetOutOfRange || e.Fields["high_watermark"] != 4.0 {
		t.Errorf("offset out of range is told as %v", e)
	}
	if e := head.Partitions[3].Error; e == nil || e.Code != errcode.UnknownTopicOrPartition {
		t.Errorf("unknown topic is told as %v", e)
	}

	a = ts.want(http.StatusOK, ts.post("/v1/fetch", mediaJSON, body, "Accept", mediaJSON))
	parts := ts.object(a)["partitions"].([]any)
	if got := len(parts[0].(map[string]any)["records"].([]any)); got != 1 {
		t.Errorf("%d records of partition 0 from offset 3, want 1: %s", got, a.body)
	}
}

func TestFetchManyRefusals(t *testing.T) {
	ts := serve(t, Options{})
	for _, bad := range []string{
		`{"partitions":[]}`, `{"partitions":[{"topic":"t","partition":-1,"offset":0}]}`, `{"partitions":[{"topic":"t","partition":0,"offset":0}],"wait_ms":-1}`,
	} {
		ts.wantCode(errcode.InvalidRequest, ts.post("/v1/fetch", mediaJSON, bad))
	}
	p := ts.wantCode(errcode.InvalidJSON, ts.post("/v1/fetch", mediaJSON, "{\"partitions\":[\n{\"topic\":1}]}"))
	if p["line"] != 2.0 {
		t.Errorf("problem %v", p)
	}
	ts.wantCode(errcode.UnsupportedMediaType, ts.post("/v1/fetch", "text/plain", `{"partitions":[]}`))
}

// A fetch that asks for all partitions gets no more than one fetch may.
func TestFetchManySharesTheLimit(t *testing.T) {
	var in api.FetchRequest
	if err := json.Unmarshal([]byte(`{"partitions":[{"max_bytes":70},{"max_bytes":70},{"max_bytes":70}],"wait_ms":9000000000000000000}`), &in); err != nil {
		t.Fatal(err)
	}
	o := Options{MaxFetchBytes: 100}.withDefaults()
	req, err := fetchRequest(&in, &o)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, p := range req.Partitions {
		got = append(got, p.MaxBytes)
	}
	if fmt.Sprint(got) != "[70 30 1]" || req.Wait != o.MaxWait || req.MinBytes != 1 {
		t.Errorf("shares %v, wait %v, min bytes %d", got, req.Wait, req.MinBytes)
	}
}

// A fetch into a budget that is used up is refused, and its buffers are released.
func TestAnswerBudget(t *testing.T) {
	ts := serve(t, Options{})
	ts.fill(3)
	answers := ts.server.opts.Admission.Answers
	if !answers.TryAcquire(answers.Limit()) {
		t.Fatal("the answers' budget is not whole")
	}
	for _, accept := range []string{mediaBatches, mediaJSON} {
		a := ts.get("/v1/topics/t/partitions/0/records", "Accept", accept)
		ts.wantCode(errcode.Overloaded, a)
		if a.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	answers.Release(answers.Limit())
	ts.want(http.StatusOK, ts.get("/v1/topics/t/partitions/0/records", "Accept", mediaBatches))
}

func TestCorruptStoredBatch(t *testing.T) {
	ts := serve(t, Options{})
	ts.fill(1)
	b := ts.fake.Partition("t", 0).Batches[0]
	b[len(b)-8] ^= 0xff
	b[record.HeaderSize] = 0x7f
	ts.wantCode(errcode.CorruptMessage, ts.get("/v1/topics/t/partitions/0/records"))
	ts.want(http.StatusOK, ts.get("/v1/topics/t/partitions/0/records", "Accept", mediaBatches))
}

// An answer is released once also when its reader has gone away in the middle of it. The harness
// checks the releases when the test ends.
func TestReleaseWhenClientIsGone(t *testing.T) {
	ts := serve(t, Options{MaxFetchBytes: 64 << 20})
	raw := recordtest.Batch(t, strings.Repeat("x", 4<<20))
	p := ts.fake.Partition("t", 0)
	for range 8 {
		raw.SetBaseOffset(p.Next)
		p.Batches = append(p.Batches, bytes.Clone(raw))
		p.Next++
	}
	body := `{"partitions":[{"topic":"t","partition":0,"offset":0,"max_bytes":60000000}]}`
	for _, request := range []string{
		"GET /v1/topics/t/partitions/0/records?max_bytes=60000000 HTTP/1.1\r\nHost: x\r\nAccept: " + mediaBatches + "\r\n\r\n",
		"GET /v1/topics/t/partitions/0/records?max_bytes=60000000 HTTP/1.1\r\nHost: x\r\nAccept: " + mediaNDJSON + "\r\n\r\n",
		fmt.Sprintf("POST /v1/fetch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
		"HEAD /v1/topics/t/partitions/0/records?max_bytes=60000000 HTTP/1.1\r\nHost: x\r\nAccept: " + mediaBatches + "\r\n\r\n",
	} {
		c := ts.raw(request)
		var first [1]byte
		if _, err := c.Read(first[:]); err != nil {
			t.Fatal(err)
		}
		if err := c.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	ts.shutdown()
	if got := ts.fake.Released.Load(); got != 4 {
		t.Errorf("%d answers were released, want 4", got)
	}
}
