package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// batchRequestBytes is about how much goes into one request.
const batchRequestBytes = 1 << 20

// produceBatches sends record batches as they are, several in a request.
func (a *app) produceBatches(ctx context.Context, c *client.Client, in io.Reader, topic string, f produceFlags, sum *summary, bar *progress) error {
	var body []byte
	records, n := 0, 0
	send := func() error {
		if len(body) == 0 {
			return nil
		}
		res, err := c.ProduceBatches(ctx, topic, f.partition, body)
		if res != nil {
			sum.takeResult(res, records, sum.Records)
		}
		sum.Records += int64(records)
		sum.Bytes += int64(len(body))
		bar.add(int64(records), 0)
		body, records = body[:0], 0
		if res != nil && len(res.Rejected) > 0 {
			err = nil // counted
		}
		return err
	}
	limit := record.DefaultLimits().MaxBatchBytes
	for {
		n++
		var header [record.HeaderSize]byte
		if _, err := io.ReadFull(in, header[:]); errors.Is(err, io.EOF) {
			return send()
		} else if err != nil {
			return errors.Join(send(), fmt.Errorf("batch %d: its header is cut short: %w", n, err))
		}
		b := record.Batch(header[:])
		size := int64(b.Length()) + 12
		if b.Magic() != record.Magic || size < record.HeaderSize || size > int64(limit) {
			return errors.Join(send(), fmt.Errorf("batch %d: not a record batch of at most %d bytes; is this another --format?", n, limit))
		}
		if len(body)+int(size) > batchRequestBytes {
			if err := send(); err != nil {
				return err
			}
		}
		start := len(body)
		body = append(body, header[:]...)
		body = append(body, make([]byte, int(size)-record.HeaderSize)...)
		if _, err := io.ReadFull(in, body[start+record.HeaderSize:]); err != nil {
			body = body[:start]
			return errors.Join(send(), fmt.Errorf("batch %d: cut short: %w", n, err))
		}
		records += int(b.Count())
		clearOffsets(record.Batch(body[start:]))
	}
}

// clearOffsets makes a batch that was read from a log one that a producer may send.
func clearOffsets(b record.Batch) {
	b.SetBaseOffset(0)
	b.SetLeaderEpoch(-1)
}
