package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// ConsumerOptions configure a Consumer. Zero values mean the defaults.
type ConsumerOptions struct {
	Topic      string        // or a view
	Partitions []int32       // nil for all
	Start      string        // Earliest (default), Latest, an offset, or a time in RFC 3339 form
	MaxBytes   int           // per partition and fetch; default 1 MiB
	MinBytes   int           // default 1
	Wait       time.Duration // how long a fetch waits at the end of the log; default 500 ms, negative for none
	Stages     []AdHocStage  // a read pipeline for this consumer alone
	// OnOutOfRange is asked when retention took the records away that come next: start and end are
	// the offsets that exist. It returns where to go on, or an error to give up. nil gives up with
	// the broker's error.
	OnOutOfRange func(partition int32, asked, start, end int64, cause error) (next int64, err error)
}

func (o ConsumerOptions) withDefaults() ConsumerOptions {
	o.Start = cmp.Or(o.Start, Earliest)
	o.MaxBytes = cmp.Or(max(o.MaxBytes, 0), 1<<20)
	o.MinBytes = cmp.Or(max(o.MinBytes, 0), 1)
	o.Wait = max(cmp.Or(o.Wait, 500*time.Millisecond), 0)
	return o
}

// ConsumedRecord is a record as a Consumer hands it out. Its bytes are valid during the call alone.
type ConsumedRecord struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // ms since 1970
	Key       []byte
	Value     []byte
	Headers   []record.RecordHeader
}

// Position is a Consumer's position in one partition.
type Position struct {
	Partition      int32
	Next           int64 // offset to be read next
	HighWatermark  int64 // exclusive, as of the last answer; -1 before the first
	LogStartOffset int64
}

// Consumer reads partitions of a topic or a view, all in one round trip, and waits at their end for
// more. It keeps no position on the broker. Not for concurrent use.
type Consumer struct {
	c       *Client
	o       ConsumerOptions
	parts   []position
	decoder *record.Decoder
	records []record.Record // reused
	turn    int             // which partition is asked for first
}

// position is a partition's state. start is where to begin until the first answer has set Next.
type position struct {
	Position
	start   string
	notTill int64 // skip records before this time, ms, at the start from a time; 0: none
}

// NewConsumer finds out the partitions unless they are given.
func NewConsumer(ctx context.Context, c *Client, o ConsumerOptions) (*Consumer, error) {
	o = o.withDefaults()
	first, err := startPosition(o.Start)
	if err != nil {
		return nil, err
	}
	partitions := o.Partitions
	if partitions == nil {
		n, err := c.PartitionCount(ctx, o.Topic)
		if err != nil {
			return nil, fmt.Errorf("open consumer: %w", err)
		}
		for p := range n {
			partitions = append(partitions, p)
		}
	}
	if len(partitions) == 0 {
		return nil, fmt.Errorf("open consumer of %s: no partitions to read", o.Topic)
	}
	k := &Consumer{c: c, o: o, decoder: record.NewDecoder(record.DefaultLimits())}
	for _, p := range partitions {
		first.Partition = p
		k.parts = append(k.parts, first)
	}
	return k, nil
}

// ErrStart is returned for a ConsumerOptions.Start that makes no sense.
var ErrStart = errors.New("cannot start there")

// startPosition reads the ways to say where to begin.
func startPosition(start string) (position, error) {
	p := position{Position: Position{HighWatermark: -1, LogStartOffset: -1}}
	if start == Earliest || start == Latest {
		p.start = start
		return p, nil
	}
	if n, err := strconv.ParseInt(start, 10, 64); err == nil && n >= 0 {
		p.Next = n
		return p, nil
	}
	t, err := time.Parse(time.RFC3339Nano, start)
	if err != nil {
		return p, fmt.Errorf("%w: %q; give earliest, latest, an offset, or a time such as 2006-01-02T15:04:05Z", ErrStart, start)
	}
	p.start, p.notTill = start, t.UnixMilli()
	return p, nil
}

// Positions returns the consumer's positions, in the order of its partitions.
func (k *Consumer) Positions() []Position {
	out := make([]Position, len(k.parts))
	for i := range k.parts {
		out[i] = k.parts[i].Position
	}
	return out
}

// Poll asks once for records of all partitions, waiting at the end of the log, and hands them to
// handle, partition by partition in offset order. It returns how many there were: 0 is normal. When
// handle fails the consumer stays at that record and Poll returns the error.
func (k *Consumer) Poll(ctx context.Context, handle func(*ConsumedRecord) error) (int, error) {
	if len(k.o.Stages) > 0 || k.unstarted() {
		return k.pollEach(ctx, handle)
	}
	req := FetchRequest{MinBytes: k.o.MinBytes, Wait: k.o.Wait, Partitions: make([]FetchFrom, 0, len(k.parts))}
	// Each fetch begins with another partition, lest a busy first one starve the others of an
	// answer of limited size.
	k.turn = (k.turn + 1) % len(k.parts)
	for i := range k.parts {
		p := &k.parts[(k.turn+i)%len(k.parts)]
		req.Partitions = append(req.Partitions, FetchFrom{Topic: k.o.Topic, Partition: p.Partition, Offset: p.Next, MaxBytes: k.o.MaxBytes})
	}
	res, err := k.c.Fetch(ctx, req)
	if err != nil {
		return 0, err
	}
	defer res.Release()
	total := 0
	for i := range res.Partitions {
		n, err := k.take(&k.parts[(k.turn+i)%len(k.parts)], &res.Partitions[i], handle)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (k *Consumer) unstarted() bool {
	for i := range k.parts {
		if k.parts[i].start != "" {
			return true
		}
	}
	return false
}

// pollEach asks for every partition on its own: the only way to say where to start other than by an
// offset, and to name ad-hoc stages.
func (k *Consumer) pollEach(ctx context.Context, handle func(*ConsumedRecord) error) (int, error) {
	results := make([]*FetchResult, len(k.parts))
	failures := make([]error, len(k.parts))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range k.parts {
		p := k.parts[i]
		f := PartitionFetch{
			Topic: k.o.Topic, Partition: p.Partition, MaxBytes: k.o.MaxBytes, Stages: k.o.Stages,
			Offset: p.start,
		}
		if p.start == "" {
			f.Offset, f.MinBytes, f.Wait = strconv.FormatInt(p.Next, 10), k.o.MinBytes, k.o.Wait
		}
		g.Go(func() error {
			results[i], failures[i] = k.c.FetchPartition(gctx, f)
			return nil // one partition's failure must not cut the others' answers short
		})
	}
	_ = g.Wait()
	total := 0
	var errs []error
	stopped := false // what was fetched but not handed out is asked for again
	for i, res := range results {
		switch {
		case res == nil && k.parts[i].start == "":
			errs = append(errs, k.outOfRange(&k.parts[i], failures[i]))
		case res == nil:
			errs = append(errs, failures[i])
		case stopped:
			res.Release()
		default:
			n, err := k.take(&k.parts[i], &res.Partitions[0], handle)
			res.Release()
			total += n
			stopped = err != nil
			errs = append(errs, err)
		}
	}
	return total, errors.Join(errs...)
}

// take hands out one partition's records and moves its position on.
func (k *Consumer) take(p *position, f *FetchedPartition, handle func(*ConsumedRecord) error) (int, error) {
	if f.Error != nil {
		return 0, k.outOfRange(p, fmt.Errorf("fetch %s/%d at offset %d: %w", k.o.Topic, p.Partition, p.Next, f.Error))
	}
	p.HighWatermark, p.LogStartOffset = f.HighWatermark, f.LogStartOffset
	from := p.Next
	if p.start != "" {
		from = 0
	}
	n := 0
	for b, err := range record.All(f.Batches) {
		if err == nil {
			err = b.CheckHeader(record.DefaultLimits())
		}
		if err != nil {
			return n, fmt.Errorf("fetch %s/%d: %w: %w", k.o.Topic, p.Partition, ErrBadAnswer, err)
		}
		handed, err := k.takeBatch(p, b, from, handle)
		n += handed
		if err != nil {
			return n, err
		}
		from = b.NextOffset()
	}
	if f.NextOffset < from && len(f.Batches) > 0 || (p.start == "" && f.NextOffset < p.Next) {
		return n, fmt.Errorf("fetch %s/%d: %w: next offset %d is before the end of the records", k.o.Topic, p.Partition, ErrBadAnswer, f.NextOffset)
	}
	p.Next, p.start = f.NextOffset, ""
	return n, nil
}

func (k *Consumer) takeBatch(p *position, b record.Batch, from int64, handle func(*ConsumedRecord) error) (int, error) {
	if b.IsControl() {
		return 0, nil
	}
	var err error
	if k.records, err = k.decoder.Decode(b, k.records[:0]); err != nil {
		return 0, fmt.Errorf("fetch %s/%d: %w: %w", k.o.Topic, p.Partition, ErrBadAnswer, err)
	}
	n := 0
	out := ConsumedRecord{Topic: k.o.Topic, Partition: p.Partition}
	for i := range k.records {
		r := &k.records[i]
		out.Offset = b.BaseOffset() + int64(r.OffsetDelta)
		if out.Offset < from || r.Timestamp < p.notTill {
			continue
		}
		p.notTill = 0 // later records count however old they claim to be
		out.Timestamp, out.Key, out.Value, out.Headers = r.Timestamp, r.Key, r.Value, r.Headers
		if err := handle(&out); err != nil {
			p.Next, p.start = out.Offset, ""
			return n, err
		}
		n++
	}
	return n, nil
}

// outOfRange lets the caller decide where to go on when the records asked for are gone.
func (k *Consumer) outOfRange(p *position, err error) error {
	var e *Error
	if k.o.OnOutOfRange == nil || !errors.As(err, &e) || e.Code != errcode.OffsetOutOfRange {
		return err
	}
	var start, end int64
	if !e.Field("log_start_offset", &start) || !e.Field("high_watermark", &end) {
		return err
	}
	next, err := k.o.OnOutOfRange(p.Partition, p.Next, start, end, err)
	if err != nil {
		return err
	}
	p.Next = next
	return nil
}
