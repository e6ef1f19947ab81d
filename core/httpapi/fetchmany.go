package httpapi

import (
	"encoding/binary"
	"io"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/recordjson"
)

// manyForms is what fetchMany can answer in.
var manyForms = []string{mediaFetch, mediaJSON}

// fetchMany reads many partitions at once. Errors of single partitions are inside of the answer.
func (c *call) fetchMany() error {
	form, err := negotiate(c.http.Request.Header.Peek(fasthttp.HeaderAccept), manyForms)
	if err != nil {
		return err
	}
	var in api.FetchRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	req, err := fetchRequest(&in, &c.s.opts)
	if err != nil {
		return err
	}
	if err := c.fetchAll(req); err != nil {
		return err
	}
	if c.s.opts.Leader != "" {
		c.http.Response.Header.Set(headerLeader, c.s.opts.Leader)
	}
	if form == mediaFetch {
		return c.answerFrames()
	}
	return c.answerManyJSON(&req)
}

// fetchRequest checks the bounds. All partitions together get no more bytes than one fetch may.
func fetchRequest(in *api.FetchRequest, o *Options) (broker.FetchRequest, error) {
	n := len(in.Partitions)
	if n == 0 || n > o.MaxFetchParts {
		return broker.FetchRequest{}, errcode.New(errcode.InvalidRequest, "the request names %d partitions; it must name 1 to %d", n, o.MaxFetchParts)
	}
	if in.WaitMS < 0 || in.MinBytes < 0 {
		return broker.FetchRequest{}, errcode.New(errcode.InvalidRequest, "min_bytes and wait_ms must not be negative")
	}
	req := broker.FetchRequest{
		Partitions: make([]broker.FetchPartition, n),
		MinBytes:   in.MinBytes,
		Wait:       min(time.Duration(min(in.WaitMS, 1<<31))*time.Millisecond, o.MaxWait),
	}
	if req.MinBytes == 0 && req.Wait > 0 {
		req.MinBytes = 1
	}
	left := o.MaxFetchBytes
	for i, p := range in.Partitions {
		if p.Partition < 0 || p.Offset < 0 || p.MaxBytes < 0 {
			return req, errcode.New(errcode.InvalidRequest, "partitions[%d]: partition, offset and max_bytes must not be negative", i)
		}
		if p.MaxBytes == 0 {
			p.MaxBytes = defaultFetchBytes
		}
		// At least one byte: the broker gives at least one batch to one that asks for any.
		share := max(1, min(p.MaxBytes, left))
		left -= share
		req.Partitions[i] = broker.FetchPartition{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset, MaxBytes: share}
	}
	return req, nil
}

// answerFrames answers in the binary form: the header's length (u32, little-endian), the header as
// JSON, then every partition's batches.
func (c *call) answerFrames() error {
	parts := c.fetch.Partitions
	out := c.buffer(64 + 192*len(parts))
	out.b = append(out.b, 0, 0, 0, 0)
	out.b = append(out.b, `{"partitions":[`...)
	total := 0
	for i := range parts {
		fp := &parts[i]
		out.b = comma(out.b, i)
		out.b = appendPartitionHead(out.b, fp)
		length := len(fp.Batches)
		if fp.Err != nil {
			length = 0
		}
		total += length
		out.b = append(out.b, `,"length":`...)
		out.b = strconv.AppendInt(out.b, int64(length), 10)
		out.b = append(out.b, '}')
	}
	out.b = append(out.b, "]}"...)
	binary.LittleEndian.PutUint32(out.b, uint32(len(out.b)-4))
	total += len(out.b)
	c.http.SetStatusCode(fasthttp.StatusOK)
	c.http.Response.Header.SetContentType(mediaFetch)
	c.http.Response.SetBodyStream(&frames{head: out.b, parts: parts}, total)
	c.info.BytesOut = int64(total)
	c.extendWriteDeadline(total)
	return nil
}

// appendPartitionHead begins the JSON object of a partition and leaves it open.
func appendPartitionHead(dst []byte, fp *broker.FetchedPartition) []byte {
	dst = append(dst, `{"topic":`...)
	dst = recordjson.AppendString(dst, fp.Topic)
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(fp.Partition), 10)
	if fp.Err != nil {
		dst = append(dst, `,"error":`...)
		dst = appendError(dst, withBounds(fp))
	}
	return appendOffsets(dst, fp, fp.NextOffset)
}

// frames is the body of a binary answer. The batches go from the broker's buffers to the connection.
type frames struct {
	head  []byte // what comes next
	parts []broker.FetchedPartition
}

var _ fasthttp.BodyWriterTo = (*frames)(nil)

// SupportsBodyWriteTo makes fasthttp call WriteTo instead of Read.
func (*frames) SupportsBodyWriteTo() bool { return true }

// WriteTo writes the whole body.
func (f *frames) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if len(f.head) > 0 {
			n, err := w.Write(f.head)
			total += int64(n)
			f.head = f.head[n:]
			if err != nil {
				return total, err
			}
		}
		if !f.advance() {
			return total, nil
		}
	}
}

// Read gives the body piece by piece.
func (f *frames) Read(p []byte) (int, error) {
	for len(f.head) == 0 {
		if !f.advance() {
			return 0, io.EOF
		}
	}
	n := copy(p, f.head)
	f.head = f.head[n:]
	return n, nil
}

// advance takes up the next partition's batches.
func (f *frames) advance() bool {
	if len(f.parts) == 0 {
		return false
	}
	if f.head = f.parts[0].Batches; f.parts[0].Err != nil {
		f.head = nil
	}
	f.parts = f.parts[1:]
	return true
}

// answerManyJSON answers with every partition's records as JSON.
func (c *call) answerManyJSON(req *broker.FetchRequest) error {
	parts := c.fetch.Partitions
	out := c.buffer(2 * c.fetched)
	out.b = append(out.b, `{"partitions":[`...)
	for i := range parts {
		fp := &parts[i]
		w := c.s.newRecordWriter(fp.Partition, mediaJSON, max(1, c.s.opts.MaxJSONBytes-len(out.b)))
		w.from = req.Partitions[i].Offset
		out.b = comma(out.b, i)
		out.b = append(out.b, `{"topic":`...)
		out.b = recordjson.AppendString(out.b, fp.Topic)
		out.b = append(out.b, `,"partition":`...)
		out.b = strconv.AppendInt(out.b, int64(fp.Partition), 10)
		out.b = append(out.b, `,"records":[`...)
		if fp.Err == nil {
			mark := len(out.b)
			var err error
			if out.b, err = w.appendAll(c.ctx, out.b, fp.Batches); err != nil {
				out.b, fp.Err = out.b[:mark], errcode.From(err)
			}
		}
		out.b = append(out.b, ']')
		if fp.Err != nil {
			out.b = append(out.b, `,"error":`...)
			out.b = appendError(out.b, withBounds(fp))
		}
		out.b = append(appendOffsets(out.b, fp, w.next(fp)), '}')
	}
	out.b = append(out.b, "]}"...)
	if err := c.hold(len(out.b)); err != nil {
		return err
	}
	c.answerOut(fasthttp.StatusOK, mediaJSON)
	return nil
}
