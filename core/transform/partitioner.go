package transform

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
)

// AnyPartition leaves the choice of the partition to the broker: by key, or in turn without one.
const AnyPartition int32 = abi.ByKey

// Topic is what must be known of a topic to sort records into its partitions. It is one state of the
// topic: whoever uses it twice gets the same partition for the same key.
type Topic struct {
	ID   metadata.TopicID
	Name string
	// Partitions is how many the metadata says there are, wherever they are.
	Partitions      int32
	MaxMessageBytes int
	// Turn is shared by everybody who writes to the topic: the next partition for records without a key.
	Turn *atomic.Uint32
}

// Check refuses the number of a partition that the topic does not have.
func (t Topic) Check(number int32) error {
	if number < 0 || number >= t.Partitions {
		return errcode.New(errcode.UnknownTopicOrPartition,
			"topic %q has partitions 0 to %d, there is no %d", t.Name, t.Partitions-1, number)
	}
	return nil
}

// Topics finds the topics that records go to.
type Topics interface {
	// Topic finds a topic that may be written to. Errors: UNKNOWN_TOPIC_OR_PARTITION, VIEW_READ_ONLY.
	Topic(name string) (Topic, error)
}

// Resolve is how a pipeline learns whether a record may go to a topic and partition (AnyPartition: by key). A
// destination that does not exist is the failure of the stage that named it.
func Resolve(topics Topics) func(name string, number int32) error {
	return func(name string, number int32) error {
		t, err := topics.Topic(name)
		if err != nil {
			return fmt.Errorf("route: %w", err)
		}
		if number == AnyPartition {
			return nil
		}
		return t.Check(number)
	}
}

// PartitionerOptions say how records are collected. The zero value collects uncompressed batches.
type PartitionerOptions struct {
	Codec record.Codec
	// Drafts collects records without encoding them, for a pipeline to come: their bytes must stay until
	// what comes of them has been built.
	Drafts bool
	// Sticky, if set, sends all records without a key to the partition that Origin stands for, so that a
	// repetition finds them where they are.
	Sticky bool
	Origin int64
	// Skip, if set, leaves out a record that its partition has already.
	Skip func(number int32, index int) (bool, error)
}

// Partitioner sorts records into batches by partition. Not for concurrent use.
type Partitioner struct {
	topic   Topic
	options PartitionerOptions
	keyless int32 // partition of the records without a key; -1 until one comes
	open    map[int32]*openBatch
	sealed  map[int32][]Batch
}

// openBatch is a batch that still takes records.
type openBatch struct {
	builder record.Builder
	draft   *record.Draft
	index   []int
}

// NewPartitioner makes a partitioner for records of one request.
func NewPartitioner(t Topic, o PartitionerOptions) *Partitioner {
	p := &Partitioner{topic: t, options: o, keyless: -1, open: map[int32]*openBatch{}, sealed: map[int32][]Batch{}}
	if o.Sticky {
		p.keyless = int32(uint64(o.Origin) % uint64(t.Partitions))
	}
	return p
}

// choose picks a record's partition: by key with murmur2 as Kafka's clients do. All records of a
// request that have no key go to one partition, as with Kafka's sticky partitioner, and to the next
// one with the next request.
func (p *Partitioner) choose(key []byte) int32 {
	if key != nil {
		return record.PartitionForKey(key, p.topic.Partitions)
	}
	if p.keyless < 0 {
		p.keyless = int32(p.topic.Turn.Add(1) % uint32(p.topic.Partitions))
	}
	return p.keyless
}

// encodedBound is never less than what a record takes in a batch: its bytes and the widest lengths.
func encodedBound(r record.Record) int {
	const fixed, perHeader = 40, 10
	n := fixed + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += perHeader + len(h.Key) + len(h.Value)
	}
	return n
}

// Add puts a record, number index of the request, into its partition's batch.
func (p *Partitioner) Add(r record.Record, number int32, index int) error {
	if number == AnyPartition {
		number = p.choose(r.Key)
	}
	if err := p.topic.Check(number); err != nil {
		return err
	}
	if p.options.Skip != nil {
		if skip, err := p.options.Skip(number, index); skip || err != nil {
			return err
		}
	}
	size := encodedBound(r)
	if size+record.HeaderSize > p.topic.MaxMessageBytes {
		return tooLarge(p.topic, index, size+record.HeaderSize)
	}
	o := p.open[number]
	if o == nil {
		o = &openBatch{}
		p.open[number] = o
		p.reset(o)
	}
	if len(o.index) > 0 && o.bytes()+size > p.topic.MaxMessageBytes {
		if err := p.seal(number, o); err != nil {
			return err
		}
	}
	o.add(r, index)
	return nil
}

// reset begins a new batch. A draft that was sealed lives on, so each has its own memory.
func (p *Partitioner) reset(o *openBatch) {
	o.index = nil
	if p.options.Drafts {
		o.draft = new(record.Draft)
		o.draft.Reset(p.options.Codec)
		return
	}
	o.builder.Reset(record.BuilderOptions{Codec: p.options.Codec})
}

func (o *openBatch) bytes() int {
	if o.draft != nil {
		return o.draft.Bytes()
	}
	return o.builder.Bytes()
}

func (o *openBatch) add(r record.Record, index int) {
	o.index = append(o.index, index)
	if o.draft != nil {
		o.draft.Append(r)
		return
	}
	o.builder.Append(r)
}

// seal finishes an open batch.
func (p *Partitioner) seal(number int32, o *openBatch) error {
	b := Batch{Index: o.index}
	if o.draft != nil {
		decoded := o.draft.Decoded()
		b.Decoded, b.draftBytes = &decoded, o.draft.Bytes()
	} else {
		data, err := o.builder.Build(nil)
		if err != nil {
			return fmt.Errorf("produce to %q: %w", p.topic.Name, err)
		}
		b.Data = data
	}
	p.sealed[number] = append(p.sealed[number], b)
	p.reset(o)
	return nil
}

// Split sorts the records of whole batches by key, and finishes. Drafts need batches that are decoded: records
// that Split decodes itself do not stay.
func (p *Partitioner) Split(ctx context.Context, budget *record.Budget, batches []Batch) ([]Part, error) {
	x := GetTransformer()
	defer PutTransformer(x)
	for i := range batches {
		if err := p.split(ctx, budget, x, &batches[i]); err != nil {
			return nil, err
		}
	}
	return p.Finish()
}

func (p *Partitioner) split(ctx context.Context, budget *record.Budget, x *Transformer, b *Batch) error {
	if err := x.take(ctx, budget, b); err != nil {
		return BatchError(p.topic.Name, 0, 0, err)
	}
	defer x.Release()
	for i, r := range x.Records() {
		if err := p.Add(r, AnyPartition, b.RequestIndex(i)); err != nil {
			return err
		}
	}
	return nil
}

// Finish returns what the partitions get, by their numbers. The partitioner cannot be used afterwards.
func (p *Partitioner) Finish() ([]Part, error) {
	numbers := slices.Sorted(maps.Keys(p.open))
	parts := make([]Part, 0, len(numbers))
	for _, number := range numbers {
		if o := p.open[number]; len(o.index) > 0 {
			if err := p.seal(number, o); err != nil {
				return nil, err
			}
		}
		parts = append(parts, Part{Number: number, Batches: p.sealed[number]})
	}
	return parts, nil
}
