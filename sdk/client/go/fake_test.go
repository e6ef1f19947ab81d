package client

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The examples' server: fasthttp's clock runs as long as the process, and a worker pool's cleaner
		// notices after ten seconds that its server has ended.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// fakeBroker is the part of a broker that a Producer and a Consumer meet: logs with offsets and the
// sequence checks of idempotent producers.
type fakeBroker struct {
	mu        sync.Mutex
	logs      map[string][]record.Batch // by partition: "topic/0"
	ends      map[string]int64
	producers map[string]*fakeProducer // by partition and id
	nextID    int64
	forgetful bool // sequences are not checked: a broken broker
	produces  int

	// before may answer a produce request instead of the broker (true), after may spoil the answer
	// of one that took effect (true). n counts requests from 1.
	before, after func(w http.ResponseWriter, n int) bool
	// verdict may add to the answer of a produce.
	verdict func(res *ProduceResult, b record.Batch)
}

type fakeProducer struct {
	next   int32
	recent []fakeBatch
}

type fakeBatch struct {
	first int32
	base  int64
}

const fakePartitions = 3

// newFake serves a fresh broker with a topic "t" of three partitions.
func newFake(t *testing.T) (*fakeBroker, *Client) {
	t.Helper()
	f := &fakeBroker{logs: map[string][]record.Batch{}, ends: map[string]int64{}, producers: map[string]*fakeProducer{}}
	return f, serve(t, f)
}

// serve makes a client of a handler. Retries are quick.
func serve(t *testing.T, h http.Handler) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	c, err := New(Options{Server: s.URL, Backoff: 1, MaxBackoff: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		s.CloseClientConnections()
		s.Close()
	})
	return c
}

func (f *fakeBroker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/v1/producers":
		f.mu.Lock()
		f.nextID++
		id := f.nextID
		f.mu.Unlock()
		answer(w, 200, ProducerID{ID: id})
	case r.URL.Path == "/v1/fetch":
		f.fetch(w, body)
	case len(parts) == 3 && parts[2] == "t" && r.Method == "GET":
		answer(w, 200, Topic{Name: "t", Partitions: fakePartitions})
	case len(parts) == 4 && parts[3] == "records":
		f.produce(w, r, body)
	case len(parts) == 6:
		f.fetchOne(w, r, parts[2], parts[4])
	default:
		problem(w, errcode.New(errcode.UnknownTopicOrPartition, "no %s", r.URL.Path))
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func problem(w http.ResponseWriter, e *errcode.Error) {
	w.Header().Set("Content-Type", errcode.ProblemContentType)
	w.WriteHeader(e.HTTPStatus())
	_, _ = w.Write(e.Problem())
}

// hangUp breaks the connection instead of answering.
func hangUp(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

func (f *fakeBroker) produce(w http.ResponseWriter, r *http.Request, body []byte) {
	f.mu.Lock()
	f.produces++
	n := f.produces
	f.mu.Unlock()
	if f.before != nil && f.before(w, n) {
		return
	}
	partition, _ := strconv.Atoi(r.URL.Query().Get("partition"))
	b, rest, err := record.Split(body)
	if err == nil {
		err = b.ValidateProduced(record.DefaultLimits())
	}
	if err != nil || len(rest) > 0 {
		problem(w, errcode.New(errcode.CorruptMessage, "%v, %d bytes too many", err, len(rest)))
		return
	}
	own, refusal := f.append(strings.Split(r.URL.Path, "/")[3], partition, b)
	if f.after != nil && f.after(w, n) {
		return
	}
	if refusal != nil {
		problem(w, refusal)
		return
	}
	res := &ProduceResult{Topic: "t", Partitions: []ProducedPartition{own}}
	if f.verdict != nil {
		f.verdict(res, b)
	}
	if len(res.Rejected) == int(b.Count()) {
		problem(w, errcode.New(errcode.InvalidRecord, "every record was rejected").With("rejected", res.Rejected).With("partitions", res.Partitions))
		return
	}
	answer(w, 200, res)
}

// attempts is how many produce requests there were.
func (f *fakeBroker) attempts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.produces
}

// append checks the batch's sequence as a broker does and writes it.
func (f *fakeBroker) append(topic string, partition int, b record.Batch) (ProducedPartition, *errcode.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := fmt.Sprintf("%s/%d", topic, partition)
	own := ProducedPartition{Partition: int32(partition), BaseOffset: f.ends[name], Count: int(b.Count())}
	if b.ProducerID() >= 0 && !f.forgetful {
		key := fmt.Sprintf("%s/%d", name, b.ProducerID())
		p := f.producers[key]
		if p == nil {
			p = &fakeProducer{}
			f.producers[key] = p
		}
		for _, r := range p.recent {
			if r.first == b.BaseSequence() {
				own.BaseOffset, own.Duplicate = r.base, true
				return own, nil
			}
		}
		if b.BaseSequence() != p.next {
			return own, errcode.New(errcode.OutOfOrderSequence, "%d where %d comes next", b.BaseSequence(), p.next)
		}
		p.next = record.AddSequence(b.BaseSequence(), b.Count())
		p.recent = append(p.recent, fakeBatch{b.BaseSequence(), own.BaseOffset})
		p.recent = p.recent[max(0, len(p.recent)-5):]
	}
	b.SetBaseOffset(own.BaseOffset)
	f.logs[name] = append(f.logs[name], b)
	f.ends[name] += int64(b.Count())
	return own, nil
}

// read is the partition's batches from offset on, about most bytes of them, and where they end.
func (f *fakeBroker) read(topic string, partition int, offset int64, most int) (batches []byte, next, end int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := fmt.Sprintf("%s/%d", topic, partition)
	next, end = offset, f.ends[name]
	for _, b := range f.logs[name] {
		if b.NextOffset() > offset && (len(batches) == 0 || len(batches)+len(b) <= most) {
			batches = append(batches, b...)
			next = b.NextOffset()
		}
	}
	return batches, next, end
}

func (f *fakeBroker) fetch(w http.ResponseWriter, body []byte) {
	var req api.FetchRequest
	if json.Unmarshal(body, &req) != nil {
		problem(w, errcode.New(errcode.InvalidJSON, "%s", body))
		return
	}
	var head api.FetchHead
	var all []byte
	for _, p := range req.Partitions {
		b, next, end := f.read(p.Topic, int(p.Partition), p.Offset, p.MaxBytes)
		out := api.FetchedHead{Topic: p.Topic, Partition: p.Partition, HighWatermark: end, NextOffset: next, Length: len(b)}
		if p.Offset > end {
			out.Length, b = 0, nil
			out.Error = &Error{Code: errcode.OffsetOutOfRange, Name: "OFFSET_OUT_OF_RANGE", Fields: map[string]json.RawMessage{
				"log_start_offset": json.RawMessage("0"), "high_watermark": json.RawMessage(strconv.FormatInt(end, 10)),
			}}
		}
		head.Partitions = append(head.Partitions, out)
		all = append(all, b...)
	}
	h, _ := json.Marshal(head)
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(h)))
	w.Header().Set("Content-Type", typeFetch)
	_, _ = w.Write(append(append(out, h...), all...))
}

func (f *fakeBroker) fetchOne(w http.ResponseWriter, r *http.Request, topic, partition string) {
	p, _ := strconv.Atoi(partition)
	var offset int64
	_, _, end := f.read(topic, p, 0, 0)
	switch from := r.URL.Query().Get("offset"); from {
	case Latest:
		offset = end
	default:
		offset, _ = strconv.ParseInt(from, 10, 64)
	}
	most := 1 << 20
	b, next, end := f.read(topic, p, offset, most)
	w.Header().Set("Wasmill-High-Watermark", strconv.FormatInt(end, 10))
	w.Header().Set("Wasmill-Log-Start-Offset", "0")
	w.Header().Set("Wasmill-Next-Offset", strconv.FormatInt(next, 10))
	w.Header().Set("Content-Type", typeBatches)
	_, _ = w.Write(b)
}

// values are all values of a partition in offset order; it fails on offsets that are not in order.
func (f *fakeBroker) values(t *testing.T, partition int) []string {
	t.Helper()
	batches, _, end := f.read("t", partition, 0, 1<<30)
	var out []string
	for _, r := range recordtest.Read(t, batches) {
		if r.Offset != int64(len(out)) {
			t.Fatalf("partition %d: offset %d in the place of %d", partition, r.Offset, len(out))
		}
		out = append(out, string(r.Value))
	}
	if int64(len(out)) != end {
		t.Fatalf("partition %d: %d records, end %d", partition, len(out), end)
	}
	return out
}
