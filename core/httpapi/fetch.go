package httpapi

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/recordjson"
)

// Response headers of a fetch.
const (
	headerHighWatermark = "Wasmill-High-Watermark"
	headerLogStart      = "Wasmill-Log-Start-Offset"
	headerNextOffset    = "Wasmill-Next-Offset"
	headerLeader        = "Wasmill-Leader"
)

// fetchRecords reads one partition; the form of the answer follows from Accept.
func (c *call) fetchRecords() error {
	topic := c.param(0)
	partition, err := c.partition(1)
	if err != nil {
		return err
	}
	q, err := parseFetchQuery(c.http.QueryArgs(), &c.s.opts)
	if err != nil {
		return err
	}
	form, err := c.fetchForm(&q)
	if err != nil {
		return err
	}
	if form == mediaSSE {
		if err := c.resume(&q, partition); err != nil {
			return err
		}
	}
	if q.offset < 0 {
		if q.offset, err = c.s.broker.ResolveOffset(c.ctx, topic, partition, q.spec); err != nil {
			return err
		}
	}
	part := broker.FetchPartition{Topic: topic, Partition: partition, Offset: q.offset, MaxBytes: q.maxBytes, Stages: q.stages}
	if q.follow {
		return c.follow(part, &q, form)
	}
	c.one[0] = part
	fp, err := c.fetchOne(broker.FetchRequest{Partitions: c.one[:], MinBytes: q.minBytes, Wait: q.wait})
	if err != nil {
		return err
	}
	if form == mediaBatches {
		c.setFetchHeaders(fp, fp.NextOffset)
		c.answerRaw(fasthttp.StatusOK, mediaBatches, fp.Batches)
		return nil
	}
	return c.answerRecords(fp, q.offset, form)
}

// What a fetch can answer in, the preferred form first. Only NDJSON and event streams can follow.
var (
	fetchForms  = []string{mediaJSON, mediaBatches, mediaNDJSON, mediaSSE}
	followForms = []string{mediaNDJSON, mediaSSE}
)

// fetchForm chooses the form of the answer. An event stream follows unless the query says otherwise.
func (c *call) fetchForm(q *fetchQuery) (string, error) {
	offers := fetchForms
	if q.follow {
		offers = followForms
	}
	form, err := negotiate(c.http.Request.Header.Peek(fasthttp.HeaderAccept), offers)
	if err == nil && form == mediaSSE && !q.followed {
		q.follow = true
	}
	return form, err
}

// fetchOne fetches the request's single partition. The answer is released when the call closes.
func (c *call) fetchOne(req broker.FetchRequest) (*broker.FetchedPartition, error) {
	if err := c.fetchAll(req); err != nil {
		return nil, err
	}
	fp := &c.fetch.Partitions[0]
	if fp.Err != nil {
		return nil, withBounds(fp)
	}
	return fp, nil
}

// fetchAll fetches into the call. A wait that a shutdown cut short is followed by a look at what is there.
func (c *call) fetchAll(req broker.FetchRequest) error {
	resp, err := c.s.broker.Fetch(c.ctx, req)
	if err != nil && c.s.polls.Err() != nil && c.s.base.Err() == nil {
		req.Wait, req.MinBytes = 0, 0
		resp, err = c.s.broker.Fetch(context.WithoutCancel(c.ctx), req)
	}
	if err != nil {
		return err
	}
	c.fetch = resp
	for i := range resp.Partitions {
		c.fetched += len(resp.Partitions[i].Batches)
	}
	return nil
}

// withBounds adds to an offset out of range what the client needs to go on.
func withBounds(fp *broker.FetchedPartition) *errcode.Error {
	if fp.Err.Code != errcode.OffsetOutOfRange {
		return fp.Err
	}
	e := fp.Err
	if _, ok := e.Fields["log_start_offset"]; !ok {
		e = e.With("log_start_offset", fp.LogStartOffset)
	}
	if _, ok := e.Fields["high_watermark"]; !ok {
		e = e.With("high_watermark", fp.HighWatermark)
	}
	return e
}

func (c *call) setFetchHeaders(fp *broker.FetchedPartition, next int64) {
	c.setInt(headerHighWatermark, fp.HighWatermark)
	c.setInt(headerLogStart, fp.LogStartOffset)
	c.setInt(headerNextOffset, next)
	if c.s.opts.Leader != "" {
		c.http.Response.Header.Set(headerLeader, c.s.opts.Leader)
	}
}

// answerRecords answers one partition's records as JSON or NDJSON.
func (c *call) answerRecords(fp *broker.FetchedPartition, from int64, form string) error {
	out := c.buffer(2*len(fp.Batches) + 256)
	w := c.s.newRecordWriter(fp.Partition, form, c.s.opts.MaxJSONBytes)
	w.from = from
	if form == mediaJSON {
		out.b = append(out.b, `{"topic":`...)
		out.b = recordjson.AppendString(out.b, fp.Topic)
		out.b = append(out.b, `,"partition":`...)
		out.b = strconv.AppendInt(out.b, int64(fp.Partition), 10)
		out.b = append(out.b, `,"records":[`...)
	}
	var err error
	if out.b, err = w.appendAll(c.ctx, out.b, fp.Batches); err != nil {
		return err
	}
	next := w.next(fp)
	if form == mediaJSON {
		out.b = append(out.b, ']')
		out.b = appendOffsets(out.b, fp, next)
		out.b = append(out.b, '}')
	}
	if err := c.hold(len(out.b)); err != nil {
		return err
	}
	c.setFetchHeaders(fp, next)
	c.answerOut(fasthttp.StatusOK, form)
	return nil
}

// appendOffsets appends the bounds of a partition and the offset that its reader asks for next.
func appendOffsets(dst []byte, fp *broker.FetchedPartition, next int64) []byte {
	dst = append(dst, `,"high_watermark":`...)
	dst = strconv.AppendInt(dst, fp.HighWatermark, 10)
	dst = append(dst, `,"log_start_offset":`...)
	dst = strconv.AppendInt(dst, fp.LogStartOffset, 10)
	dst = append(dst, `,"next_offset":`...)
	return strconv.AppendInt(dst, next, 10)
}

// recordWriter writes the records of fetched batches as JSON.
type recordWriter struct {
	partition int32
	from      int64  // records before this offset are left out
	max       int    // bytes after which no further record is begun
	between   byte   // separates records; 0 for nothing
	events    bool   // records are events of a stream
	after     string // ends every record

	unpack   *record.Budget
	start    int   // of what the present call appends
	count    int   // records written
	full     bool  // max was reached: the rest was left out
	fullNext int64 // offset of the first record left out
}

// newRecordWriter makes a writer for one of the forms that show records one by one.
func (s *Server) newRecordWriter(partition int32, form string, maxBytes int) recordWriter {
	w := recordWriter{unpack: s.unpack, partition: partition, max: maxBytes}
	switch form {
	case mediaJSON:
		w.between = ','
	case mediaNDJSON:
		w.after = "\n"
	case mediaSSE:
		w.events, w.after = true, "\n\n"
	}
	return w
}

// unpackers are the memory for taking batches apart.
var unpackers = sync.Pool{New: func() any { return new(record.Unpacker) }}

// appendAll appends the records of batches that are back to back. ctx bounds the wait for memory.
func (w *recordWriter) appendAll(ctx context.Context, dst, batches []byte) ([]byte, error) {
	u := unpackers.Get().(*record.Unpacker)
	defer func() {
		clear(u.Records[:cap(u.Records)])
		if cap(u.Records) <= keptRecords {
			unpackers.Put(u)
		}
	}()
	w.start = len(dst)
	for b, err := range record.All(batches) {
		if err != nil {
			return dst, corrupt(w.partition, err)
		}
		if b.IsControl() || b.NextOffset() <= w.from {
			continue
		}
		if err := u.Decode(ctx, w.unpack, b); err != nil {
			return dst, corrupt(w.partition, err)
		}
		dst = w.appendBatch(dst, b.BaseOffset(), u.Records)
		u.Release()
		if w.full {
			break
		}
	}
	return dst, nil
}

func (w *recordWriter) appendBatch(dst []byte, base int64, records []record.Record) []byte {
	for i := range records {
		offset := base + int64(records[i].OffsetDelta)
		if offset < w.from {
			continue
		}
		if w.count > 0 && len(dst)-w.start >= w.max {
			w.full, w.fullNext = true, offset
			break
		}
		dst = w.appendOne(dst, offset, &records[i])
	}
	return dst
}

func (w *recordWriter) appendOne(dst []byte, offset int64, r *record.Record) []byte {
	if w.count > 0 && w.between != 0 {
		dst = append(dst, w.between)
	}
	w.count++
	if w.events {
		dst = append(dst, "id: "...)
		dst = strconv.AppendInt(dst, int64(w.partition), 10)
		dst = append(dst, ':')
		dst = strconv.AppendInt(dst, offset, 10)
		dst = append(dst, "\ndata: "...)
	}
	dst = recordjson.AppendRecord(dst, w.partition, offset, r)
	return append(dst, w.after...)
}

// next is the offset to ask for after what was written.
func (w *recordWriter) next(fp *broker.FetchedPartition) int64 {
	if w.full {
		return w.fullNext
	}
	return fp.NextOffset
}

// corrupt is the error of stored bytes that cannot be taken apart.
func corrupt(partition int32, err error) error {
	var busy *errcode.Error
	if errors.As(err, &busy) { // there was no memory to look at them
		return busy
	}
	return errcode.New(errcode.CorruptMessage, "records of partition %d cannot be read: %w; fetch them as %s to get past them", partition, err, mediaBatches)
}
