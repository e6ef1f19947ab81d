package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// identity is what makes a partition's batches recognisable. An id whose sequence may have a gap is
// thrown away: a new one starts at 0 and cannot collide with anything.
type identity struct {
	ProducerID
	known    bool
	renewed  bool // not the id that the partitions share
	sequence int32
}

// errTooLate is the cause when a batch was not delivered within DeliveryTimeout.
var errTooLate = fmt.Errorf("not delivered in time: %w", context.DeadlineExceeded)

// deliver sends a batch and reports its records.
func (q *queue) deliver(b *openBatch) {
	select {
	case q.p.slots <- struct{}{}:
		defer func() { <-q.p.slots }()
	case <-q.p.ctx.Done():
		q.fail(b, context.Cause(q.p.ctx))
		return
	}
	body, err := b.builder.Build(q.body[:0])
	if err != nil {
		q.fail(b, fmt.Errorf("build record batch for %s/%d: %w", q.p.o.Topic, q.partition, err))
		return
	}
	q.body = body
	ctx, cancel := context.WithDeadlineCause(q.p.ctx, b.first.Add(q.p.o.DeliveryTimeout), errTooLate)
	defer cancel()
	res, err := q.send(ctx, body)
	if err != nil {
		q.fail(b, err)
		return
	}
	q.p.totals.wireBytes.Add(int64(len(body)))
	q.report(b, res)
}

// send delivers a batch once, with as many attempts as it takes and is safe.
func (q *queue) send(ctx context.Context, body record.Batch) (*ProduceResult, error) {
	p := q.p
	unsure := false // an attempt may have taken effect without our knowing
	for attempt := 0; ; attempt++ {
		res, err := q.attempt(ctx, body)
		if err == nil {
			return res, nil
		}
		stale := IsCode(err, errcode.OutOfOrderSequence) || IsCode(err, errcode.InvalidProducerEpoch)
		switch {
		case stale && !unsure && attempt == 0:
			// The broker has forgotten the sequence, and nothing of this request was written.
			q.id = identity{renewed: true}
			continue
		case !mayRepeat(err, !p.o.NotIdempotent) || ctx.Err() != nil:
			q.id = identity{renewed: true}
			return nil, err
		}
		unsure = unsure || !refusedUntouched(err)
		p.totals.retries.Add(1)
		if sleep(ctx, p.c.backoff(attempt, err)) != nil {
			q.id = identity{renewed: true}
			return nil, err
		}
	}
}

// attempt sends the batch once, under the partition's identity.
func (q *queue) attempt(ctx context.Context, body record.Batch) (*ProduceResult, error) {
	if !q.p.o.NotIdempotent {
		if err := q.identify(ctx); err != nil {
			return nil, err
		}
		setProducer(body, q.id.ProducerID, q.id.sequence)
	}
	q.p.totals.requests.Add(1)
	r := produceCall(q.p.o.Topic, q.partition)
	r.contentType, r.body, r.once = typeBatches, body, true
	res, err := q.p.c.produce(ctx, r)
	if err != nil && (res == nil || len(res.Rejected) == 0) {
		return nil, err
	}
	if err := res.Err(); err != nil {
		return nil, err
	}
	q.id.sequence = record.AddSequence(q.id.sequence, body.Count())
	return res, nil
}

// refusedUntouched reports whether the failed attempt certainly had no effect.
func refusedUntouched(err error) bool {
	var ce *ConnError
	if errors.As(err, &ce) {
		return !ce.Sent
	}
	return IsCode(err, errcode.Overloaded) || IsCode(err, errcode.ThrottlingQuotaExceeded)
}

// identify makes sure that the partition has a producer id.
func (q *queue) identify(ctx context.Context) (err error) {
	if q.id.known {
		return nil
	}
	if q.id.ProducerID, err = q.p.producerID(ctx, q.id.renewed); err != nil {
		return err
	}
	q.id.known, q.id.sequence = true, 0
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// setProducer patches producer id, epoch and base sequence, which the checksum covers.
func setProducer(b record.Batch, id ProducerID, sequence int32) {
	binary.BigEndian.PutUint64(b[43:], uint64(id.ID))
	binary.BigEndian.PutUint16(b[51:], uint16(id.Epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(sequence))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
}

// producerID is the id that the partitions share, or a new one.
func (p *Producer) producerID(ctx context.Context, fresh bool) (ProducerID, error) {
	if fresh {
		return p.c.AllocateProducerID(ctx)
	}
	p.idMu.Lock()
	defer p.idMu.Unlock()
	if p.firstID == nil {
		id, err := p.c.AllocateProducerID(ctx)
		if err != nil {
			return ProducerID{}, err
		}
		p.firstID = &id
	}
	return *p.firstID, nil
}
