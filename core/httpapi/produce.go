package httpapi

import (
	"bytes"
	"encoding/base64"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/recordjson"
)

// Request headers of a produce whose body is one value.
const (
	headerKey          = "Wasmill-Key"
	headerKeyBase64    = "Wasmill-Key-B64" // for keys that are not plain text
	headerRecordPrefix = "Wasmill-Header-"
)

// produce appends records to a topic; the form of the body follows from Content-Type.
func (c *call) produce() error {
	topic := c.param(0)
	partition, err := c.producePartition()
	if err != nil {
		return err
	}
	contentType := mediaType(c.http.Request.Header.ContentType())
	if err := checkProduceType(contentType); err != nil {
		return err
	}
	b, err := c.readBody(c.s.opts.MaxBodyBytes)
	if err != nil {
		return err
	}
	defer b.close()
	var sent int
	var res *broker.ProduceResult
	switch {
	case isMedia(contentType, mediaBatches):
		if len(b.bytes()) == 0 {
			return errcode.New(errcode.InvalidRequest, "the body is empty; it must hold record batches back to back")
		}
		res, err = c.s.broker.ProduceBatches(c.ctx, topic, partition, b.bytes())
		sent = -1
	case isMedia(contentType, mediaJSON):
		res, sent, err = c.produceJSON(topic, partition, b.bytes(), (*recordjson.Reader).Read)
	case isMedia(contentType, mediaNDJSON):
		res, sent, err = c.produceJSON(topic, partition, b.bytes(), (*recordjson.Reader).ReadLines)
	default:
		res, err = c.produceValue(topic, partition, b.bytes())
		sent = 1
	}
	if err != nil {
		return err
	}
	return c.answerProduced(res, sent)
}

// producePartition is the query's partition, AnyPartition without one. Nothing else may be asked.
func (c *call) producePartition() (int32, error) {
	args := c.http.QueryArgs()
	for k := range args.All() {
		if string(k) != "partition" {
			return 0, unknownParameter(k, "partition")
		}
	}
	v := args.Peek("partition")
	if v == nil {
		return broker.AnyPartition, nil
	}
	return parsePartition(v)
}

// checkProduceType refuses types that nobody means as the type of a record's value.
func checkProduceType(t []byte) error {
	switch {
	case isMedia(t, "application/x-www-form-urlencoded"), hasMediaPrefix(t, "multipart/"):
		return errcode.New(errcode.UnsupportedMediaType,
			"Content-Type %q is what tools send by default; set application/json, application/x-ndjson or %s, or the type of the value that the body is (for example text/plain)", clip(t), mediaBatches)
	case hasMediaPrefix(t, "application/vnd.wasmill.") && !isMedia(t, mediaBatches):
		return errcode.New(errcode.UnsupportedMediaType, "Content-Type %q cannot be produced; record batches are %s", clip(t), mediaBatches)
	}
	return nil
}

// produceJSON parses the whole body before any of it is handed to the broker.
func (c *call) produceJSON(topic string, partition int32, body []byte, parse func(*recordjson.Reader, []byte) error) (*broker.ProduceResult, int, error) {
	in := c.newRecords(partition)
	defer in.recycle()
	if err := parse(&in.reader, body); err != nil {
		return nil, 0, err
	}
	if len(in.records) == 0 {
		return nil, 0, errcode.New(errcode.InvalidRequest, "the body holds no records")
	}
	res, err := c.s.broker.ProduceRecords(c.ctx, topic, in.records)
	return res, len(in.records), err
}

// produceValue appends one record whose value is the body. The key and headers come from the
// request's headers; as HTTP does not keep the case of header names, record headers get lower case.
func (c *call) produceValue(topic string, partition int32, body []byte) (*broker.ProduceResult, error) {
	rec := broker.InputRecord{Partition: partition}
	rec.Timestamp = c.s.opts.Now().UnixMilli()
	rec.Value = body
	h := &c.http.Request.Header
	key, err := valueKey(h)
	if err != nil {
		return nil, err
	}
	rec.Key = key
	for name, value := range h.All() {
		if suffix, ok := bytes.CutPrefix(name, []byte(headerRecordPrefix)); ok && len(suffix) > 0 {
			rec.Headers = append(rec.Headers, record.RecordHeader{Key: bytes.ToLower(suffix), Value: value})
		}
	}
	return c.s.broker.ProduceRecords(c.ctx, topic, []broker.InputRecord{rec})
}

// valueKey is the key that the request's headers give, nil without one.
func valueKey(h *fasthttp.RequestHeader) ([]byte, error) {
	plain, encoded := h.Peek(headerKey), h.Peek(headerKeyBase64)
	if encoded == nil {
		return plain, nil
	}
	if plain != nil {
		return nil, errcode.New(errcode.InvalidRequest, "%s and %s exclude each other", headerKey, headerKeyBase64)
	}
	key, err := base64.StdEncoding.DecodeString(string(encoded))
	if err != nil {
		return nil, errcode.New(errcode.InvalidRequest, "%s is not base64 (standard alphabet, padded): %w", headerKeyBase64, err)
	}
	return key, nil
}

// answerProduced answers what became of the records. sent is how many there were, -1 when only the
// broker knows. Nothing written anywhere is an error of the request: that of its partitions, or
// that every record was rejected.
func (c *call) answerProduced(res *broker.ProduceResult, sent int) error {
	failed, written := 0, 0
	var first *errcode.Error
	for i := range res.Partitions {
		p := &res.Partitions[i]
		written += p.Count
		if p.Error != nil {
			failed++
			if first == nil {
				first = p.Error
			}
		}
	}
	if sent < 0 {
		sent = len(res.Rejected) + len(res.Dropped) + len(res.Routed) + written
	}
	status := fasthttp.StatusOK
	switch {
	case failed > 0 && failed == len(res.Partitions) && len(res.Routed) == 0:
		return allFailed(res, first)
	case failed > 0:
		status = fasthttp.StatusMultiStatus
	case len(res.Rejected) > 0 && len(res.Rejected) == sent && written == 0:
		return errcode.New(errcode.InvalidRecord, "every record was rejected, the first with: %s; nothing was written", res.Rejected[0].Message).
			With("topic", res.Topic).With("partitions", rawList(res.Partitions, appendProducedPartition)).
			With("rejected", rawList(res.Rejected, appendRejected))
	}
	out := c.buffer(0)
	out.b = appendProduced(out.b, res)
	c.answerOut(status, mediaJSON)
	return nil
}

// allFailed is the error of a request that no partition took.
func allFailed(res *broker.ProduceResult, first *errcode.Error) error {
	if len(res.Partitions) == 1 {
		return first
	}
	return first.With("topic", res.Topic).With("partitions", rawList(res.Partitions, appendProducedPartition))
}
