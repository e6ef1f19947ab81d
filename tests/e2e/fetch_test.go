package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
)

// What a producer compressed comes back as it was, byte for byte, but for the base offset and the leader
// epoch, which are the broker's to set and outside of the checksum.
func TestBatchesAreKeptByteForByte(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 1)
	var sent [][]byte
	var body []byte
	for codec := record.CodecNone; codec <= record.CodecZstd; codec++ {
		one := batch(t, record.BuilderOptions{Codec: codec}, "k=v", "", strings.Repeat("again and again ", 300))
		sent = append(sent, one)
		body = append(body, one...)
	}
	must(c.ProduceBatches(deadline(t), "orders", 0, bytes.Clone(body)))(t) // several batches in one request
	for _, one := range sent {
		must(c.ProduceBatches(deadline(t), "orders", 0, bytes.Clone(one)))(t) // and each in its own
	}
	check := func() {
		t.Helper()
		i, next := 0, int64(0)
		for got, err := range record.All(raw(t, c, "orders", 0)) {
			if err != nil {
				t.Fatal(err)
			}
			if got.BaseOffset() != next {
				t.Errorf("batch %d begins at %d instead of %d", i, got.BaseOffset(), next)
			}
			next = got.NextOffset()
			got = bytes.Clone(got)
			want := record.Batch(sent[i%len(sent)])
			got.SetBaseOffset(want.BaseOffset())
			got.SetLeaderEpoch(want.LeaderEpoch())
			if !bytes.Equal(got, want) {
				t.Errorf("batch %d, codec %v, is not what was sent", i, want.Codec())
			}
			i++
		}
		if i != 2*len(sent) {
			t.Errorf("%d batches instead of %d", i, 2*len(sent))
		}
	}
	check()
	b.Kill(t)
	b = b.Restart(t)
	c = b.Client(t)
	check()
}

// The same records through every Content-Type in, and every Accept out.
func TestContentTypesInAndOut(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	in := func(name, contentType, body string, headers ...string) {
		t.Helper()
		topic(t, c, name, 1)
		a := call(t, b, "POST", "/v1/topics/"+name+"/records", []byte(body), append(headers, "Content-Type", contentType)...)
		if a.Status != 200 {
			t.Fatalf("%s: %d %s", contentType, a.Status, a.Body)
		}
	}
	in("as-batches", typeBatches, string(batch(t, record.BuilderOptions{}, "k=text", `k={"n":1}`)))
	in("as-json", typeJSON, `{"records":[{"key":"k","value":"text","timestamp":1700000000000},{"key":"k","value":{"n":1},"timestamp":"2023-11-14T22:13:20.001Z"}]}`)
	in("as-ndjson", typeNDJSON, "{\"key\":\"k\",\"value\":\"text\",\"timestamp\":1700000000000}\n{\"key_b64\":\"aw==\",\"value_b64\":\"eyJuIjoxfQ==\",\"timestamp\":1700000000001}")
	for _, name := range []string{"as-batches", "as-json", "as-ndjson"} {
		path := "/v1/topics/" + name + "/partitions/0/records?offset=0"
		got := call(t, b, "GET", path, nil, "Accept", typeJSON)
		var doc struct {
			Topic     string
			Partition int32
			Records   []json.RawMessage
			High      int64 `json:"high_watermark"`
			Next      int64 `json:"next_offset"`
		}
		if err := json.Unmarshal(got.Body, &doc); err != nil {
			t.Fatalf("%s: %v", got.Body, err)
		}
		want := []string{
			`{"partition":0,"offset":0,"timestamp":"2023-11-14T22:13:20.000Z","key":"k","value":"text"}`,
			`{"partition":0,"offset":1,"timestamp":"2023-11-14T22:13:20.001Z","key":"k","value":{"n":1}}`,
		}
		if len(doc.Records) != 2 || doc.Topic != name || doc.High != 2 || doc.Next != 2 {
			t.Fatalf("%s: %s", name, got.Body)
		}
		for i := range want {
			if !sameJSON(t, string(doc.Records[i]), want[i]) {
				t.Errorf("%s: record %d is %s", name, i, doc.Records[i])
			}
		}
		lines := strings.Split(strings.TrimSpace(string(call(t, b, "GET", path, nil, "Accept", typeNDJSON).Body)), "\n")
		if len(lines) != 2 || !sameJSON(t, lines[0], want[0]) || !sameJSON(t, lines[1], want[1]) {
			t.Errorf("%s as NDJSON: %q", name, lines)
		}
		binary := call(t, b, "GET", path, nil, "Accept", typeBatches)
		expectValues(t, name+" as batches", values(decode(t, binary.Body)), "text", `{"n":1}`)
		for header, want := range map[string]string{"Wasmill-High-Watermark": "2", "Wasmill-Log-Start-Offset": "0", "Wasmill-Next-Offset": "2"} {
			if binary.Header.Get(header) != want || got.Header.Get(header) != want {
				t.Errorf("%s is %q and %q instead of %s", header, binary.Header.Get(header), got.Header.Get(header), want)
			}
		}
	}
	in("as-value", "image/png", "\x89PNG\x00\xff", "Wasmill-Key", "logo", "Wasmill-Header-Origin", "scanner")
	r := rows(t, c, "as-value", 0)[0]
	if r.Value != "\x89PNG\x00\xff" || r.Key != "logo" || len(r.Headers) != 1 || string(r.Headers[0].Key) != "origin" || string(r.Headers[0].Value) != "scanner" {
		t.Errorf("a plain value became %+v", r)
	}
	if a := call(t, b, "GET", "/v1/topics/as-value/partitions/0/records", nil, "Accept", "image/png"); a.Status != 406 {
		t.Errorf("Accept image/png is answered %d", a.Status)
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Errorf("%q: %v", a, err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Errorf("%q: %v", b, err)
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}

// A long poll is answered when there is something, with what there is, or when its time is up.
func TestLongPoll(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 1)
	begun := time.Now()
	res := must(c.FetchPartition(deadline(t), client.PartitionFetch{Topic: "orders", Wait: 300 * time.Millisecond}))(t)
	if d := time.Since(begun); d < 300*time.Millisecond || len(res.Partitions[0].Batches) != 0 {
		t.Errorf("an empty poll came back after %v", d)
	}
	res.Release()
	var pollers sync.WaitGroup
	for range 20 {
		pc := b.Client(t)
		pollers.Go(func() {
			res := must(pc.FetchPartition(deadline(t), client.PartitionFetch{Topic: "orders", Wait: 40 * time.Second}))(t)
			defer res.Release()
			expectValues(t, "poll", values(decode(t, res.Partitions[0].Batches))[:1], "first")
		})
	}
	produce(t, c, "orders", 0, "first")
	pollers.Wait()
	// With min_bytes one record is not enough.
	more := make(chan struct{})
	pc := b.Client(t)
	pollers.Go(func() {
		defer close(more)
		res := must(pc.FetchPartition(deadline(t), client.PartitionFetch{Topic: "orders", Offset: "1", MinBytes: 20_000, Wait: 40 * time.Second}))(t)
		defer res.Release()
		if n := len(res.Partitions[0].Batches); n < 20_000 {
			t.Errorf("%d bytes", n)
		}
	})
	for range 3 {
		produce(t, c, "orders", 0, strings.Repeat("x", 8000))
	}
	<-more
	pollers.Wait()
}

// NDJSON and event streams begin where they are asked to, go on as records come, and an event stream resumes
// behind the last event that the client names.
func TestStreams(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 1)
	produce(t, c, "orders", 0, "0", "1", "2")
	const path = "/v1/topics/orders/partitions/0/records?offset="
	fromStart := follow(t, b, path+"0&follow=true", typeNDJSON)
	fromEnd := follow(t, b, path+"latest&follow=true", typeNDJSON)
	events := follow(t, b, path+"1", typeSSE)
	resumed := follow(t, b, path+"0", typeSSE, "Last-Event-ID", "0:1")
	produce(t, c, "orders", 0, "3")
	produce(t, c, "orders", 0, "4", "5")
	offsets := func(name string, next func() string, want ...int) {
		t.Helper()
		for _, w := range want {
			if line := next(); !strings.Contains(line, fmt.Sprintf(`"offset":%d,`, w)) {
				t.Errorf("%s: %s in the place of offset %d", name, line, w)
			}
		}
	}
	event := func(s *stream) func() string {
		return func() string {
			for {
				if data, ok := strings.CutPrefix(s.line(t), "data:"); ok {
					return data
				}
			}
		}
	}
	offsets("NDJSON", func() string { return fromStart.line(t) }, 0, 1, 2, 3, 4, 5)
	offsets("NDJSON from latest", func() string { return fromEnd.line(t) }, 3, 4, 5)
	offsets("events", event(events), 1, 2, 3, 4, 5)
	offsets("resumed events", event(resumed), 2, 3, 4, 5)
}

// One request reads many partitions of several topics and a view; each has its own outcome.
func TestFetchManyPartitions(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	commands(t, c, 3, 2)
	must(c.PutView(deadline(t), "seen", "in", []client.Stage{{Module: "commands"}}))(t)
	for p := range int32(3) {
		produce(t, c, "in", p, fmt.Sprintf("in %d", p), "again")
	}
	ask := client.FetchRequest{Partitions: []client.FetchFrom{
		{Topic: "in", Partition: 2}, {Topic: "in", Partition: 0, Offset: 1}, {Topic: "seen", Partition: 1},
		{Topic: "in", Partition: 9}, {Topic: "other", Partition: 1}, {Topic: "in", Partition: 1, Offset: 50},
	}}
	res := must(c.Fetch(deadline(t), ask))(t)
	defer res.Release()
	for i, want := range [][]string{{"in 2", "again"}, {"in 0", "again"}, {"in 1", "again"}, nil, nil, nil} {
		p := res.Partitions[i]
		failed := i == 3 || i == 5
		if (p.Error != nil) != failed {
			t.Errorf("%s/%d: error %v", p.Topic, p.Partition, p.Error)
		}
		if !failed {
			expectValues(t, fmt.Sprintf("%s/%d", p.Topic, p.Partition), values(decode(t, p.Batches)), want...)
		}
	}
	a := call(t, b, "POST", "/v1/fetch", []byte(`{"partitions":[{"topic":"in","partition":0,"offset":0,"max_bytes":1000}]}`), "Content-Type", typeJSON, "Accept", typeFetch)
	if a.Header.Get("Content-Type") != typeFetch || int(binary.LittleEndian.Uint32(a.Body)) >= len(a.Body) {
		t.Errorf("%q: %q", a.Header.Get("Content-Type"), a.Body)
	}
	asJSON := call(t, b, "POST", "/v1/fetch", []byte(`{"partitions":[{"topic":"in","partition":0,"offset":1}]}`), "Content-Type", typeJSON, "Accept", typeJSON)
	if !bytes.Contains(asJSON.Body, []byte(`"again"`)) || bytes.Contains(asJSON.Body, []byte(`"in 0"`)) {
		t.Errorf("as JSON: %s", asJSON.Body)
	}
	// It waits until any of them has something.
	pc := b.Client(t)
	var poll sync.WaitGroup
	poll.Go(func() {
		res := must(pc.Fetch(deadline(t), client.FetchRequest{Wait: 40 * time.Second, Partitions: []client.FetchFrom{
			{Topic: "in", Partition: 0, Offset: 2}, {Topic: "in", Partition: 1, Offset: 2}, {Topic: "seen", Partition: 2, Offset: 2},
		}}))(t)
		defer res.Release()
		expectValues(t, "what woke it", values(decode(t, res.Partitions[2].Batches)), "news")
	})
	produce(t, c, "in", 2, "news")
	poll.Wait()
}

// Reading from a time begins with the first record that is not older.
func TestFetchFromATime(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	c := b.Client(t)
	topic(t, c, "orders", 1)
	produce(t, c, "orders", 0, "a", "b", "c") // one millisecond apart
	for at, want := range map[string]int64{
		"2023-11-14T22:13:20Z": 0, "2023-11-14T22:13:20.001Z": 1, "2023-11-14T22:13:20.0015Z": 2, "2023-11-14T23:13:20.002+01:00": 2, "2033-01-01T00:00:00Z": 3,
	} {
		a := call(t, b, "GET", "/v1/topics/orders/partitions/0/records?offset="+url.QueryEscape(at), nil, "Accept", typeJSON)
		var doc struct {
			Records []struct{ Offset int64 }
			Next    int64 `json:"next_offset"`
		}
		if err := json.Unmarshal(a.Body, &doc); err != nil {
			t.Fatal(err)
		}
		if got := append(doc.Records, struct{ Offset int64 }{doc.Next})[0].Offset; got != want {
			t.Errorf("from %s it begins at %d instead of %d", at, got, want)
		}
	}
}
