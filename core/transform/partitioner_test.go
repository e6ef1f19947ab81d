package transform

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTopics are topics by name.
type fakeTopics map[string]Topic

func (f fakeTopics) Topic(name string) (Topic, error) {
	if t, ok := f[name]; ok {
		return t, nil
	}
	return Topic{}, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %q", name)
}

func topicOf(name string, partitions int32) Topic {
	return Topic{Name: name, Partitions: partitions, MaxMessageBytes: 1 << 20, Turn: new(atomic.Uint32)}
}

// finish returns what a partitioner made, as the encoded batches of each partition.
func finish(t testing.TB, p *Partitioner) map[int32][]Batch {
	t.Helper()
	parts, err := p.Finish()
	if err != nil {
		t.Fatal(err)
	}
	all, last := map[int32][]Batch{}, int32(-1)
	for _, part := range parts {
		if part.Number <= last || len(part.Batches) == 0 {
			t.Errorf("partition %d with %d batches comes after %d", part.Number, len(part.Batches), last)
		}
		last = part.Number
		all[part.Number] = part.Batches
	}
	return all
}

// encode builds a draft.
func encode(t testing.TB, b Batch) record.Batch {
	t.Helper()
	if b.Data != nil {
		return b.Data
	}
	var w record.Builder
	w.Replace(b.Decoded)
	for i := range b.Decoded.Records {
		w.AppendFrom(b.Decoded, i)
	}
	data, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestPartitionerSortsLikeAModel compares drafts, encoded batches and a model: where each record goes, in
// which order, and which place of the request it has.
func TestPartitionerSortsLikeAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		topic := topicOf("orders", rapid.Int32Range(1, 9).Draw(rt, "partitions"))
		topic.MaxMessageBytes = rapid.IntRange(300, 2000).Draw(rt, "limit")
		codec := rapid.SampledFrom([]record.Codec{record.CodecNone, record.CodecZstd}).Draw(rt, "codec")
		encoded := NewPartitioner(topic, PartitionerOptions{Codec: codec, Sticky: true, Origin: 11})
		drafts := NewPartitioner(topic, PartitionerOptions{Codec: codec, Sticky: true, Origin: 11, Drafts: true})
		type sent struct {
			index int
			value string
		}
		want := map[int32][]sent{}
		for i := range rapid.IntRange(0, 60).Draw(rt, "records") {
			r := record.Record{Timestamp: int64(1000 + i), Value: bytes.Repeat([]byte{'v'}, rapid.IntRange(0, 120).Draw(rt, "size"))}
			number := AnyPartition
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0: // no key
			case 1:
				number = rapid.Int32Range(0, topic.Partitions-1).Draw(rt, "number")
			default:
				r.Key = fmt.Append(nil, rapid.IntRange(0, 99).Draw(rt, "key"))
			}
			if err := errors.Join(encoded.Add(r, number, i), drafts.Add(r, number, i)); err != nil {
				rt.Fatal(err)
			}
			switch {
			case number != AnyPartition:
			case r.Key == nil:
				number = 11 % topic.Partitions
			default:
				number = record.PartitionForKey(r.Key, topic.Partitions)
			}
			want[number] = append(want[number], sent{i, string(r.Value)})
		}
		gotEncoded, gotDrafts := finish(t, encoded), finish(t, drafts)
		if len(gotEncoded) != len(want) || len(gotDrafts) != len(want) {
			rt.Fatalf("%d and %d partitions, want %d", len(gotEncoded), len(gotDrafts), len(want))
		}
		for number, batches := range gotEncoded {
			var got []sent
			for i, b := range batches {
				draft := gotDrafts[number][i]
				if data := encode(t, draft); !bytes.Equal(data, b.Data) || draft.Bytes() < record.HeaderSize || codec == record.CodecNone && draft.Bytes() != len(data) {
					rt.Fatalf("partition %d, batch %d: the draft becomes other bytes", number, i)
				}
				if codec == record.CodecNone && len(b.Data) > topic.MaxMessageBytes || b.Data.Codec() != codec || b.Count() != draft.Count() {
					rt.Fatalf("a batch of %d bytes and %d records in codec %v", len(b.Data), b.Count(), b.Data.Codec())
				}
				for k, r := range recordtest.Read(t, b.Data) {
					if b.RequestIndex(k) != draft.RequestIndex(k) {
						rt.Fatal("the draft's records have other places")
					}
					got = append(got, sent{b.RequestIndex(k), string(r.Value)})
				}
			}
			if !slices.Equal(got, want[number]) {
				rt.Fatalf("partition %d got %v, want %v", number, got, want[number])
			}
		}
	})
}

func TestRecordsWithoutAKeyTakeTurns(t *testing.T) {
	topic := topicOf("orders", 3)
	var numbers []int32
	for range 4 {
		p := NewPartitioner(topic, PartitionerOptions{})
		for i := range 3 {
			if err := p.Add(record.Record{}, AnyPartition, i); err != nil {
				t.Fatal(err)
			}
		}
		parts := finish(t, p)
		if len(parts) != 1 {
			t.Fatalf("one request's records without a key went to %d partitions", len(parts))
		}
		for number := range parts {
			numbers = append(numbers, number)
		}
	}
	if want := []int32{1, 2, 0, 1}; !slices.Equal(numbers, want) {
		t.Errorf("requests went to %v, want %v", numbers, want)
	}
}

func TestPartitionerRefuses(t *testing.T) {
	topic := topicOf("orders", 2)
	topic.MaxMessageBytes = 200
	p := NewPartitioner(topic, PartitionerOptions{})
	for _, number := range []int32{2, -2} {
		if err := p.Add(record.Record{}, number, 0); !errcode.Is(err, errcode.UnknownTopicOrPartition) {
			t.Errorf("partition %d: %v", number, err)
		}
	}
	err := p.Add(record.Record{Value: make([]byte, 200)}, 0, 7)
	if !errcode.Is(err, errcode.MessageTooLarge) || errcode.From(err).Fields["limit"] != 200 || !strings.Contains(err.Error(), "record 7") {
		t.Errorf("a record over the limit: %v", err)
	}
	if parts := finish(t, p); len(parts) != 0 {
		t.Errorf("refused records are written to %v", parts)
	}
}

func TestPartitionerSkips(t *testing.T) {
	broken := errors.New("broken")
	p := NewPartitioner(topicOf("orders", 2), PartitionerOptions{Skip: func(number int32, index int) (bool, error) {
		if index == 9 {
			return false, broken
		}
		return number == 1 && index < 3, nil
	}})
	for i := range 6 {
		if err := p.Add(record.Record{}, int32(i%2), i); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Add(record.Record{}, 0, 9); !errors.Is(err, broken) {
		t.Errorf("the failure to find out is not returned: %v", err)
	}
	parts := finish(t, p)
	if got := parts[0][0].Index; !slices.Equal(got, []int{0, 2, 4}) {
		t.Errorf("partition 0 got %v", got)
	}
	if got := parts[1][0].Index; !slices.Equal(got, []int{3, 5}) {
		t.Errorf("partition 1 got %v", got)
	}
}

// TestSplitTakesDecodedRecords: records that are decoded already are not decoded again.
func TestSplitTakesDecodedRecords(t *testing.T) {
	budget := record.NewBudget(admission.Default().Unpack)
	batch := recordtest.Build(t, record.BuilderOptions{Codec: record.CodecZstd}, recordtest.Numbered(20)...)
	var u record.Unpacked
	defer u.Release()
	if err := u.Add(t.Context(), budget, batch, record.DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		decoded *record.Decoded
		decodes int64
	}{{u.Batch(0), 0}, {nil, 1}} {
		before := budget.Decodes()
		parts, err := NewPartitioner(topicOf("orders", 4), PartitionerOptions{}).
			Split(t.Context(), budget, []Batch{{Data: batch, Decoded: c.decoded}})
		if err != nil {
			t.Fatal(err)
		}
		if n := budget.Decodes() - before; n != c.decodes {
			t.Errorf("decoded %d times, want %d", n, c.decodes)
		}
		n := 0
		for _, p := range parts {
			for _, b := range p.Batches {
				for i, r := range recordtest.Read(t, b.Data) {
					n++
					if want := fmt.Sprint("v", b.RequestIndex(i)); string(r.Value) != want || record.PartitionForKey(r.Key, 4) != p.Number {
						t.Errorf("%q in partition %d, want %q", r.Value, p.Number, want)
					}
				}
			}
		}
		if n != 20 {
			t.Errorf("%d records of 20", n)
		}
	}
	_, err := NewPartitioner(topicOf("orders", 4), PartitionerOptions{}).
		Split(t.Context(), budget, []Batch{{Data: batch[:len(batch)-1]}})
	if !errcode.Is(err, errcode.CorruptMessage) {
		t.Errorf("a batch that is cut off: %v", err)
	}
}

// growing is a topic that gains a partition at every look.
type growing struct{ partitions int32 }

func (g *growing) Topic(name string) (Topic, error) {
	g.partitions++
	return topicOf(name, g.partitions), nil
}

// TestOutputsKeepOneStateOfATopic: however often a topic changes meanwhile, all records of one collection are
// sorted with the state that it had at the first.
func TestOutputsKeepOneStateOfATopic(t *testing.T) {
	o := NewOutputs(&growing{partitions: 2}, nil)
	for i := range 30 {
		name := []string{"b", "a"}[i%2]
		if err := o.Add(name, AnyPartition, record.Record{Key: fmt.Append(nil, i)}, i); err != nil {
			t.Fatal(err)
		}
	}
	if state, err := o.Topic("b"); err != nil || state.Partitions != 3 {
		t.Errorf("topic b is taken to have %d partitions, %v", state.Partitions, err)
	}
	outputs, err := o.Finish()
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for i, out := range outputs {
		if want := map[string]int32{"b": 3, "a": 4}[out.Topic.Name]; out.Topic.Partitions != want || out.Number >= want {
			t.Errorf("partition %d of %+v", out.Number, out.Topic)
		}
		if i > 0 && (outputs[i-1].Topic.Name < out.Topic.Name || outputs[i-1].Topic.Name == out.Topic.Name && outputs[i-1].Number >= out.Number) {
			t.Errorf("%s/%d comes after %s/%d", out.Topic.Name, out.Number, outputs[i-1].Topic.Name, outputs[i-1].Number)
		}
		for _, b := range out.Batches {
			for _, index := range b.Index {
				records++
				if record.PartitionForKey(fmt.Append(nil, index), out.Topic.Partitions) != out.Number || (index%2 == 0) != (out.Topic.Name == "b") {
					t.Errorf("record %d went to %s/%d", index, out.Topic.Name, out.Number)
				}
			}
		}
	}
	if records != 30 {
		t.Errorf("%d records of 30", records)
	}
	if err := NewOutputs(fakeTopics{}, nil).Add("nothing", 0, record.Record{}, 0); !errcode.Is(err, errcode.UnknownTopicOrPartition) {
		t.Errorf("a topic that is not there: %v", err)
	}
}

func TestResolve(t *testing.T) {
	resolve := Resolve(fakeTopics{"orders": topicOf("orders", 2)})
	for number, ok := range map[int32]bool{AnyPartition: true, 0: true, 1: true, 2: false, -2: false} {
		if err := resolve("orders", number); (err == nil) != ok {
			t.Errorf("partition %d: %v", number, err)
		}
	}
	if err := resolve("nothing", AnyPartition); !errcode.Is(err, errcode.UnknownTopicOrPartition) {
		t.Errorf("%v", err)
	}
}

// TestJoinCopiesOnlyWhatLiesApart looks at where the joined bytes lie.
func TestJoinCopiesOnlyWhatLiesApart(t *testing.T) {
	one, two := recordtest.Batch(t, "a"), recordtest.Batch(t, "b", "c")
	body := slices.Concat(one, two)
	together := []Batch{{Data: record.Batch(body[:len(one)])}, {Data: record.Batch(body[len(one):])}}
	if got := Join(together); &got[0] != &body[0] || !bytes.Equal(got, body) {
		t.Error("batches that lie back to back were copied")
	}
	apart := []Batch{{Data: one}, {Data: two}}
	if got := Join(apart); !bytes.Equal(got, body) {
		t.Errorf("joined as %x", got)
	}
	roomy := []Batch{{Data: append(make(record.Batch, 0, 1000), one...)}, {Data: two}}
	if got := Join(roomy); !bytes.Equal(got, body) {
		t.Errorf("joined as %x", got)
	}
	if got := Join(apart[:1]); &got[0] != &one[0] {
		t.Error("a single batch was copied")
	}
}

func TestUnits(t *testing.T) {
	plain := Batch{Data: recordtest.Batch(t, "a")}
	idempotent := Batch{Data: recordtest.Build(t, recordtest.Sequence(7, 0, 0), recordtest.Values("a")...)}
	for _, c := range []struct {
		batches []Batch
		sizes   []int
	}{
		{[]Batch{plain}, []int{1}},
		{[]Batch{idempotent}, []int{1}},
		{[]Batch{plain, plain, plain}, []int{3}},
		{[]Batch{plain, idempotent, plain}, []int{1, 1, 1}},
	} {
		var sizes []int
		for _, unit := range Units(c.batches) {
			sizes = append(sizes, len(unit))
		}
		if !slices.Equal(sizes, c.sizes) {
			t.Errorf("units of %v, want %v", sizes, c.sizes)
		}
	}
}
