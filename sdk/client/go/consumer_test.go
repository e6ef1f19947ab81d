package client

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

func jsonLine(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// fill writes batches of the given sizes to a partition; the values count from 0, timestamps in
// steps of 10 ms from 1000.
func (f *fakeBroker) fill(t *testing.T, partition int, sizes ...int) {
	t.Helper()
	n := 0
	for _, size := range sizes {
		records := make([]record.Record, size)
		for i := range records {
			records[i] = record.Record{Value: fmt.Appendf(nil, "%d-%d", partition, n), Timestamp: 1000 + 10*int64(n)}
			n++
		}
		if _, err := f.append("t", partition, recordtest.Build(t, record.BuilderOptions{}, records...)); err != nil {
			t.Fatal(err)
		}
	}
}

func newConsumer(t *testing.T, c *Client, o ConsumerOptions) *Consumer {
	t.Helper()
	o.Topic = "t"
	k, err := NewConsumer(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// drain polls until nothing comes and returns the values in the order in which they came.
func drain(t *testing.T, k *Consumer) (values []string) {
	t.Helper()
	for {
		n, err := k.Poll(t.Context(), func(r *ConsumedRecord) error {
			values = append(values, string(r.Value))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return values
		}
	}
}

func TestConsumerReadsAllPartitions(t *testing.T) {
	f, c := newFake(t)
	want := 0
	for p := range fakePartitions {
		f.fill(t, p, 3, 1, 5, p+1)
		want += 10 + p
	}
	for _, o := range []ConsumerOptions{{}, {Start: "0"}, {MaxBytes: 1}, {Start: Earliest, Stages: []AdHocStage{{Module: "m"}}}} {
		got := drain(t, newConsumer(t, c, o))
		next := map[byte]int{}
		for _, v := range got {
			if v != fmt.Sprintf("%c-%d", v[0], next[v[0]]) {
				t.Fatalf("%+v: %s after %d records of its partition", o, v, next[v[0]])
			}
			next[v[0]]++
		}
		if len(got) != want {
			t.Errorf("%+v: %d records, want %d", o, len(got), want)
		}
	}
}

func TestConsumerStarts(t *testing.T) {
	f, c := newFake(t)
	f.fill(t, 0, 4, 4)
	for _, tc := range []struct {
		start string
		want  string
	}{
		{"", "0-0"},
		{Earliest, "0-0"},
		{"6", "0-6"}, // inside of a batch
		{"8", ""},
		{Latest, ""},
		{"1970-01-01T00:00:01.025Z", "0-3"}, // the fake begins at the start: the consumer passes over what is older
	} {
		got := drain(t, newConsumer(t, c, ConsumerOptions{Partitions: []int32{0}, Start: tc.start}))
		first := ""
		if len(got) > 0 {
			first = got[0]
		}
		if first != tc.want {
			t.Errorf("start %q begins with %q, want %q", tc.start, first, tc.want)
		}
	}
	for _, bad := range []string{"-1", "soon", "2006-01-02"} {
		if _, err := NewConsumer(t.Context(), c, ConsumerOptions{Topic: "t", Start: bad}); !errors.Is(err, ErrStart) {
			t.Errorf("start %q: %v", bad, err)
		}
	}
	if _, err := NewConsumer(t.Context(), c, ConsumerOptions{Topic: "t", Partitions: []int32{}}); err == nil {
		t.Error("a consumer of no partitions")
	}
}

func TestConsumerStaysWhereItsHandlerFailed(t *testing.T) {
	f, c := newFake(t)
	f.fill(t, 0, 10)
	f.fill(t, 1, 10)
	for _, stages := range [][]AdHocStage{nil, {{Module: "m"}}} {
		k := newConsumer(t, c, ConsumerOptions{Start: "0", Stages: stages})
		broken := errors.New("broken")
		calls := 0
		n, err := k.Poll(t.Context(), func(r *ConsumedRecord) error {
			calls++
			if calls == 4 {
				return broken
			}
			return nil
		})
		if !errors.Is(err, broken) || n != 3 || calls != 4 {
			t.Fatalf("%d handed out in %d calls, %v", n, calls, err)
		}
		if got := drain(t, k); len(got) != 17 {
			t.Errorf("%d records came afterwards, want 17: %v", len(got), got)
		}
	}
}

func TestConsumerPositions(t *testing.T) {
	f, c := newFake(t)
	f.fill(t, 2, 5)
	k := newConsumer(t, c, ConsumerOptions{Partitions: []int32{2}, Start: "1"})
	if p := k.Positions()[0]; p != (Position{Partition: 2, Next: 1, HighWatermark: -1, LogStartOffset: -1}) {
		t.Errorf("before: %+v", p)
	}
	drain(t, k)
	if p := k.Positions()[0]; p != (Position{Partition: 2, Next: 5, HighWatermark: 5}) {
		t.Errorf("after: %+v", p)
	}
}

func TestOutOfRange(t *testing.T) {
	f, c := newFake(t)
	f.fill(t, 0, 3)
	k := newConsumer(t, c, ConsumerOptions{Partitions: []int32{0}, Start: "99"})
	_, err := k.Poll(t.Context(), nil)
	if !IsCode(err, errcode.OffsetOutOfRange) {
		t.Errorf("%v", err)
	}
	k = newConsumer(t, c, ConsumerOptions{Partitions: []int32{0}, Start: "99",
		OnOutOfRange: func(p int32, asked, start, end int64, _ error) (int64, error) {
			if p != 0 || asked != 99 || start != 0 || end != 3 {
				t.Errorf("asked about %d: %d in %d to %d", p, asked, start, end)
			}
			return 1, nil
		}})
	if _, err := k.Poll(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, k); len(got) != 2 || got[0] != "0-1" {
		t.Errorf("%v", got)
	}
}

// A server that breaks the protocol gets an error, never a panic, a loop or a wrong record.
func TestConsumerRefusesBadAnswers(t *testing.T) {
	good := recordtest.Batch(t, "v")
	garbled := append([]byte(nil), good...)
	garbled[len(garbled)-1] ^= 1
	for name, tc := range map[string]struct {
		head    string
		batches []byte
	}{
		"garbled batch":       {`{"partitions":[{"topic":"t","partition":0,"high_watermark":1,"next_offset":1,"length":%d}]}`, garbled},
		"cut batch":           {`{"partitions":[{"topic":"t","partition":0,"high_watermark":1,"next_offset":1,"length":%d}]}`, good[:len(good)-1]},
		"going backwards":     {`{"partitions":[{"topic":"t","partition":0,"high_watermark":1,"next_offset":2,"length":%d}]}`, nil},
		"next before records": {`{"partitions":[{"topic":"t","partition":0,"high_watermark":1,"next_offset":0,"length":%d}]}`, good},
		"another partition":   {`{"partitions":[{"topic":"t","partition":1,"length":%d}]}`, nil},
		"too many":            {`{"partitions":[{"topic":"t","partition":0,"length":%d},{"topic":"t","partition":1}]}`, nil},
		"none":                {`{"partitions":[]}`, nil},
		"negative length":     {`{"partitions":[{"topic":"t","partition":0,"length":-%d1}]}`, nil},
		"long length":         {`{"partitions":[{"topic":"t","partition":0,"length":1%d}]}`, good},
		"no JSON":             {`hello%d`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				head := fmt.Sprintf(tc.head, len(tc.batches))
				out := binary.LittleEndian.AppendUint32(nil, uint32(len(head)))
				_, _ = w.Write(append(append(out, head...), tc.batches...))
			}))
			start := "0"
			if name == "going backwards" {
				start = "5"
			}
			k := newConsumer(t, c, ConsumerOptions{Partitions: []int32{0}, Start: start})
			_, err := k.Poll(t.Context(), func(*ConsumedRecord) error { return nil })
			if !errors.Is(err, ErrBadAnswer) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestFetchNeedsItsHeaders(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	_, err := c.FetchPartition(t.Context(), PartitionFetch{Topic: "t"})
	if !errors.Is(err, ErrBadAnswer) {
		t.Errorf("%v", err)
	}
}

func TestPartitionsOfViews(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/views/v":
			answer(w, 200, View{Name: "v", Topic: "t"})
		case "/v1/topics/v":
			problem(w, errcode.New(errcode.ViewReadOnly, "v is a view"))
		case "/v1/views/u":
			answer(w, 200, View{Name: "u", Topic: "t"})
		case "/v1/topics/t":
			answer(w, 200, Topic{Name: "t", Partitions: 7})
		default:
			problem(w, errcode.New(errcode.UnknownTopicOrPartition, "nothing at %s", r.URL.Path))
		}
	}))
	for name, want := range map[string]int32{"t": 7, "u": 7, "v": 7} {
		if n, err := c.PartitionCount(context.Background(), name); err != nil || n != want {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if _, err := c.PartitionCount(context.Background(), "x"); !IsCode(err, errcode.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "topics/x") {
		t.Errorf("%v", err)
	}
}

func FuzzParseFetch(f *testing.F) {
	head := `{"partitions":[{"topic":"t","partition":0,"length":3,"next_offset":1}]}`
	good := append(binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head...)
	f.Add(append(good, "abc"...))
	f.Add(good)
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, '{'})
	f.Fuzz(func(t *testing.T, body []byte) {
		parts, err := parseFetch(body, []FetchFrom{{Topic: "t"}})
		if err != nil {
			return
		}
		n := 0
		for _, p := range parts {
			n += len(p.Batches)
		}
		if n > len(body) {
			t.Errorf("%d bytes of batches out of %d", n, len(body))
		}
	})
}

func FuzzProblem(f *testing.F) {
	f.Add(errcode.New(errcode.DiskFull, "full").With("a", 1).Problem())
	f.Add([]byte(`{"code":"x"}`))
	f.Add([]byte(`{"code":99999,"detail":3}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var e Error
		if json.Unmarshal(body, &e) != nil {
			return
		}
		b, err := json.Marshal(&e)
		if err != nil {
			t.Fatalf("%q reads as %+v, which has no JSON: %v", body, e, err)
		}
		var again Error
		if err := json.Unmarshal(b, &again); err != nil || again.Code != e.Code || again.Detail != e.Detail || again.Name != e.Name {
			t.Errorf("%s reads back as %+v, %v", b, again, err)
		}
	})
}
