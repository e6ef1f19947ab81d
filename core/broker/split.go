package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
)

// batchCodes maps what can be wrong with a batch to the codes that a client sees.
var batchCodes = []struct {
	err  error
	code errcode.Code
}{
	{record.ErrBusy, errcode.Overloaded}, // not the batch's fault
	{record.ErrMagic, errcode.UnsupportedForMessageFormat},
	{record.ErrCodec, errcode.UnsupportedCompressionType},
	{record.ErrDecompressedTooLarge, errcode.DecompressionTooLarge}, // also an ErrTooLarge: it comes first
	{record.ErrTooLarge, errcode.MessageTooLarge},
}

// splitter sorts records into batches by partition.
type splitter struct {
	topic   *topic
	codec   record.Codec
	limit   int   // bytes of one batch
	keyless int32 // partition of the request's records without a key; -1 until one comes
	// skip, if set, leaves out a record that its partition has already.
	skip  func(number int32, index int) (bool, error)
	open  map[int32]*openBatch
	parts map[*partition.Partition][]chunk
}

// openBatch is a batch that still takes records.
type openBatch struct {
	builder record.Builder
	index   []int
}

func newSplitter(t *topic, codec record.Codec) *splitter {
	return &splitter{
		topic: t, codec: codec, limit: t.config.Load().MaxMessageBytes, keyless: -1,
		open: map[int32]*openBatch{}, parts: map[*partition.Partition][]chunk{},
	}
}

// choose picks a record's partition: by key with murmur2 as Kafka's clients do. All records of a
// request that have no key go to one partition, as with Kafka's sticky partitioner, and to the next
// one with the next request.
func (s *splitter) choose(key []byte) int32 {
	n := int32(len(s.topic.partitions()))
	if n == 0 {
		return 0 // which there is not, as is told when the record is added
	}
	if key != nil {
		return record.PartitionForKey(key, n)
	}
	if s.keyless < 0 {
		s.keyless = int32(s.topic.turn.Add(1) % uint32(n))
	}
	return s.keyless
}

// stick sends all records without a key to the partition that origin stands for, so that a repetition
// finds them where they are.
func (s *splitter) stick(origin int64) {
	s.keyless = int32(uint64(origin) % uint64(max(len(s.topic.partitions()), 1)))
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

// add puts a record, number index of the request, into its partition's batch.
func (s *splitter) add(r record.Record, number int32, index int) error {
	if number == AnyPartition {
		number = s.choose(r.Key)
	}
	if _, err := s.topic.partition(number); err != nil {
		return err
	}
	if s.skip != nil {
		if there, err := s.skip(number, index); there || err != nil {
			return err
		}
	}
	o := s.open[number]
	if o == nil {
		o = &openBatch{}
		s.open[number] = o
		o.reset(s.codec)
	}
	size := encodedBound(r)
	if size+record.HeaderSize > s.limit {
		return tooLarge(s.topic, fmt.Sprintf("record %d", index), size+record.HeaderSize, s.limit)
	}
	if o.builder.Len() > 0 && o.builder.Bytes()+size > s.limit {
		if err := s.seal(number, o); err != nil {
			return err
		}
	}
	o.builder.Append(r)
	o.index = append(o.index, index)
	return nil
}

func (o *openBatch) reset(codec record.Codec) {
	o.builder.Reset(record.BuilderOptions{Codec: codec})
	o.index = nil
}

// seal turns an open batch into a chunk.
func (s *splitter) seal(number int32, o *openBatch) error {
	data, err := o.builder.Build(nil)
	if err != nil {
		return fmt.Errorf("produce to %q: %w", s.topic.name, err)
	}
	p, err := s.topic.partition(number)
	if err != nil {
		return err
	}
	s.parts[p] = append(s.parts[p], chunk{batch: data, index: o.index})
	o.reset(s.codec)
	return nil
}

// finish seals what is open.
func (s *splitter) finish() (map[*partition.Partition][]chunk, error) {
	for _, number := range slices.Sorted(maps.Keys(s.open)) {
		if o := s.open[number]; o.builder.Len() > 0 {
			if err := s.seal(number, o); err != nil {
				return nil, err
			}
		}
	}
	return s.parts, nil
}

// splitByKey takes whole batches apart into one batch per partition, in the codec they came in.
func (b *Broker) splitByKey(ctx context.Context, t *topic, chunks []chunk) (map[*partition.Partition][]chunk, error) {
	if len(t.partitions()) == 1 {
		return map[*partition.Partition][]chunk{t.partitions()[0]: chunks}, nil
	}
	s := newSplitter(t, chunks[0].batch.Codec())
	x := transformers.Get().(*transformer)
	defer transformers.Put(x)
	for _, c := range chunks {
		if c.batch.ProducerID() >= 0 {
			return nil, errcode.New(errcode.InvalidRequest,
				"produce to %q: batches of an idempotent producer must name their partition (?partition=)", t.name)
		}
		err := x.Decode(ctx, b.unpack, c.batch)
		if err != nil {
			return nil, batchError(t.name, 0, 0, err)
		}
		for i, r := range x.Records {
			if err = s.add(r, AnyPartition, c.requestIndex(i)); err != nil {
				break
			}
		}
		x.Release()
		if err != nil {
			return nil, err
		}
	}
	return s.finish()
}

// codedError is an error under the code of cause, which is what is wrong with a batch.
func codedError(cause error, format string, args ...any) *errcode.Error {
	code := errcode.CorruptMessage
	for _, known := range batchCodes {
		if errors.Is(cause, known.err) {
			code = known.code
			break
		}
	}
	e := errcode.New(code, format, args...)
	if code == errcode.Overloaded {
		return e.With("retry_after_ms", 1000)
	}
	return e
}
