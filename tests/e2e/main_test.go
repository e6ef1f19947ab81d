// Package e2e tests a whole broker from the outside: real processes, real sockets, real disks. Each
// test starts brokers of its own with tests/harness.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, os.Stderr)) //nolint:forbidigo // this is the test binary's main
}

// Content types of the API.
const (
	typeBatches = "application/vnd.wasmill.batches"
	typeFetch   = "application/vnd.wasmill.fetch"
	typeJSON    = "application/json"
	typeNDJSON  = "application/x-ndjson"
	typeSSE     = "text/event-stream"
	typeWasm    = "application/wasm"
)

// patience bounds what a test waits for. Only a hang should reach it.
const patience = time.Minute

// deadline is the test's context with patience as its end.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// answer is an HTTP response read to its end.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// call sends one request as it is, right or wrong. headers are names and values in turn.
func call(t *testing.T, b *harness.Broker, method, path string, body []byte, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(deadline(t), method, b.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read answer: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, got}
}

// refusal is what an error answer must be like.
type refusal struct {
	code   errcode.Code
	status int      // 0: the code's own
	says   []string // what the detail must contain: the culprit, and what to do next
}

// expect checks an error answer and returns its members.
func (r refusal) expect(t *testing.T, a answer) map[string]any {
	t.Helper()
	status := r.status
	if status == 0 {
		status = r.code.Info().HTTPStatus
	}
	if a.Status != status {
		t.Fatalf("status %d instead of %d: %s", a.Status, status, a.Body)
	}
	if got := a.Header.Get("Content-Type"); got != errcode.ProblemContentType {
		t.Errorf("an error of Content-Type %q: %s", got, a.Body)
	}
	var p map[string]any
	if err := json.Unmarshal(a.Body, &p); err != nil {
		t.Fatalf("the error is not JSON: %v: %s", err, a.Body)
	}
	if p["code"] != float64(r.code) || p["name"] != r.code.String() || p["retriable"] != r.code.Info().Retriable {
		t.Errorf("code %v, name %v, retriable %v instead of %d, %v, %v: %s",
			p["code"], p["name"], p["retriable"], r.code, r.code, r.code.Info().Retriable, a.Body)
	}
	if wait := a.Header.Get("Retry-After"); r.code.Info().Retriable != (wait != "") {
		t.Errorf("Retry-After is %q on an error of retriable %v", wait, r.code.Info().Retriable)
	}
	detail, _ := p["detail"].(string)
	for _, s := range r.says {
		if !strings.Contains(detail, s) {
			t.Errorf("the detail does not say %q: %s", s, detail)
		}
	}
	return p
}

// must fails the test on an error and passes the value on.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// topic creates a topic.
func topic(t *testing.T, c *client.Client, name string, partitions int32) {
	t.Helper()
	must(c.CreateTopic(deadline(t), client.TopicSpec{Name: name, Partitions: partitions}))(t)
}

// batch builds one record batch of values; "key=value" has a key. Timestamps count up.
func batch(t *testing.T, o record.BuilderOptions, values ...string) []byte {
	t.Helper()
	records := recordtest.Pairs(values...)
	for i := range records {
		records[i].Timestamp += int64(i)
	}
	return recordtest.Build(t, o, records...)
}

// produce writes one batch of values and returns the base offset.
func produce(t *testing.T, c *client.Client, topicName string, partition int32, values ...string) int64 {
	t.Helper()
	res := must(c.ProduceBatches(deadline(t), topicName, partition, batch(t, record.BuilderOptions{}, values...)))(t)
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	return res.Partitions[0].BaseOffset
}

// raw reads all batches of a partition from offset 0 on.
func raw(t *testing.T, c *client.Client, topicName string, partition int32) []byte {
	t.Helper()
	var all []byte
	for next := int64(0); ; {
		res := must(c.Fetch(deadline(t), client.FetchRequest{
			Partitions: []client.FetchFrom{{Topic: topicName, Partition: partition, Offset: next, MaxBytes: 4 << 20}},
		}))(t)
		p := res.Partitions[0]
		if p.Error != nil {
			t.Fatalf("fetch %s/%d from %d: %v", topicName, partition, next, p.Error)
		}
		all = append(all, p.Batches...)
		next = p.NextOffset
		done := next >= p.HighWatermark
		res.Release()
		if done {
			return all
		}
	}
}

// row is a record at its place.
type row struct {
	Offset     int64
	Key, Value string // "" for null too
	Headers    []record.RecordHeader
}

// rows reads all records of a partition.
func rows(t *testing.T, c *client.Client, topicName string, partition int32) []row {
	t.Helper()
	return decode(t, raw(t, c, topicName, partition))
}

func decode(t *testing.T, batches []byte) []row {
	t.Helper()
	var all []row
	for _, r := range recordtest.Read(t, batches) {
		all = append(all, row{r.Offset, string(r.Key), string(r.Value), r.Headers})
	}
	return all
}

// values are the records' values in order.
func values(all []row) []string {
	out := make([]string, len(all))
	for i, r := range all {
		out[i] = r.Value
	}
	return out
}

// witness is acknowledged data that must still be there, byte for byte, whatever a test does.
type witness struct {
	bytes map[int32][]byte
}

const witnessTopic = "witness"

// newWitness writes records in every codec.
func newWitness(t *testing.T, b *harness.Broker) *witness {
	t.Helper()
	c := b.Client(t)
	topic(t, c, witnessTopic, 2)
	w := &witness{bytes: map[int32][]byte{}}
	for partition := range int32(2) {
		for codec := record.CodecNone; codec <= record.CodecZstd; codec++ {
			body := batch(t, record.BuilderOptions{Codec: codec}, "k=first", "second", strings.Repeat("long ", 200))
			if err := must(c.ProduceBatches(deadline(t), witnessTopic, partition, body))(t).Err(); err != nil {
				t.Fatal(err)
			}
		}
		w.bytes[partition] = raw(t, c, witnessTopic, partition)
	}
	return w
}

// check reads it all again, and writes and reads one more record: the broker must still serve.
func (w *witness) check(t *testing.T, b *harness.Broker) {
	t.Helper()
	c := b.Client(t)
	for partition, want := range w.bytes {
		if got := raw(t, c, witnessTopic, partition); !bytes.Equal(got, want) {
			t.Fatalf("%s/%d: %d bytes differ from the %d that were acknowledged", witnessTopic, partition, len(got), len(want))
		}
		produce(t, c, witnessTopic, partition, "more")
		got := raw(t, c, witnessTopic, partition)
		if !bytes.HasPrefix(got, want) || len(got) == len(want) {
			t.Fatalf("%s/%d: what was acknowledged changed with one more record", witnessTopic, partition)
		}
		w.bytes[partition] = got
	}
}

// survive kills the broker, starts it again and checks.
func (w *witness) survive(t *testing.T, b *harness.Broker) *harness.Broker {
	t.Helper()
	b.Kill(t)
	again := b.Restart(t)
	w.check(t, again)
	return again
}
