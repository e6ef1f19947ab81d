package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
)

// headerLastEventID is what an event stream's client has seen last.
const headerLastEventID = "Last-Event-ID"

// resume lets a reconnecting client go on after the last event that it saw.
func (c *call) resume(q *fetchQuery, partition int32) error {
	id := c.http.Request.Header.Peek(headerLastEventID)
	if len(id) == 0 {
		return nil
	}
	p, o, ok := bytes.Cut(id, []byte{':'})
	number, perr := strconv.ParseInt(string(p), 10, 32)
	offset, oerr := strconv.ParseInt(string(o), 10, 64)
	if !ok || perr != nil || oerr != nil || offset < 0 || number != int64(partition) {
		return errcode.New(errcode.InvalidRequest, "Last-Event-ID is %q; ids of this stream are %d:<offset>", clip(id), partition)
	}
	q.offset = offset + 1
	return nil
}

// follow answers with a stream that ends when the client disconnects, the server shuts down or an error
// occurs. Errors of the first fetch still get a status of their own.
func (c *call) follow(part broker.FetchPartition, q *fetchQuery, form string) error {
	s := &followStream{
		call: c, part: part, form: form, minBytes: q.minBytes,
		writer: c.s.newRecordWriter(part.Partition, form, c.s.opts.MaxJSONBytes),
	}
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	c.stream = s
	s.buf = newBuffer(64 << 10)
	c.one[0] = part
	fp, err := c.fetchOne(broker.FetchRequest{Partitions: c.one[:]})
	if err != nil {
		return err
	}
	c.setFetchHeaders(fp, part.Offset)
	c.dropFetch()
	h := &c.http.Response.Header
	h.SetContentType(form)
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	h.Set("X-Accel-Buffering", "no")
	c.http.SetConnectionClose()
	c.http.Response.ImmediateHeaderFlush = true
	c.http.Response.SetBodyStream(s, -1)
	s.watch(c.http.Conn())
	return nil
}

// dropFetch releases a fetched answer before the call closes.
func (c *call) dropFetch() {
	if c.fetch != nil {
		c.fetch.Release()
		c.fetch = nil
	}
	c.s.opts.Admission.Answers.Release(c.held)
	c.held, c.fetched = 0, 0
}

// followStream is the body of a stream: reading it waits for records. It runs on the connection's
// goroutine; fasthttp flushes what each Read gave.
type followStream struct {
	call     *call
	part     broker.FetchPartition
	form     string
	minBytes int
	writer   recordWriter
	ctx      context.Context // ends with the client, the server or the call
	cancel   context.CancelFunc
	conn     net.Conn
	watcher  chan struct{} // closed when the watcher has ended; nil without one
	buf      *buffer
	unread   []byte // of buf
	greeted  bool
	ended    bool
}

// watch ends the stream when the client closes its side. A stream is its connection's last answer,
// so anything else that the client sends is discarded.
func (s *followStream) watch(conn net.Conn) {
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	s.conn, s.watcher = conn, make(chan struct{})
	go func() {
		defer close(s.watcher)
		defer s.cancel()
		var scratch [512]byte
		for {
			if _, err := conn.Read(scratch[:]); err != nil {
				return
			}
		}
	}()
}

// close ends the watcher and waits for it.
func (s *followStream) close() {
	s.cancel()
	if s.watcher != nil {
		// A deadline in the past wakes the watcher's read; the connection is not read again. Where
		// that fails the connection is closed already, which wakes it too.
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
		<-s.watcher
	}
	s.buf.free()
}

// Read gives the stream's next bytes. Between records of an event stream there are comments, so that
// neither side and nothing in between takes the connection for dead.
func (s *followStream) Read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.call.logPanic(r)
			n, err = 0, errors.New("stream broke off")
		}
	}()
	for len(s.unread) == 0 {
		if s.ended {
			return 0, io.EOF
		}
		s.fill()
	}
	if err := s.call.http.SetWriteDeadline(time.Now().Add(s.call.s.opts.WriteTimeout)); err != nil {
		return 0, err
	}
	n = copy(p, s.unread)
	s.unread = s.unread[n:]
	s.call.info.BytesOut += int64(n)
	return n, nil
}

// fill waits for the next records and renders them; it may come back with nothing.
func (s *followStream) fill() {
	out := s.buf.b[:0]
	if s.form == mediaSSE && !s.greeted {
		s.greeted = true
		s.give(append(out, "retry: 1000\n\n"...))
		return
	}
	s.call.one[0] = s.part
	resp, err := s.call.s.broker.Fetch(s.ctx, broker.FetchRequest{
		Partitions: s.call.one[:], MinBytes: max(1, s.minBytes), Wait: s.call.s.opts.KeepAlive,
	})
	if err != nil {
		s.finish(out, err)
		return
	}
	defer resp.Release()
	fp := &resp.Partitions[0]
	if fp.Err != nil {
		s.finish(out, withBounds(fp))
		return
	}
	s.writer.from = s.part.Offset
	s.writer.count, s.writer.full = 0, false
	if out, err = s.writer.appendAll(s.ctx, out, fp.Batches); err != nil {
		s.finish(out, err)
		return
	}
	s.part.Offset = s.writer.next(fp)
	switch {
	case s.writer.count > 0:
		s.give(out)
	case s.ctx.Err() != nil:
		s.finish(out, s.ctx.Err())
	case s.form == mediaSSE:
		s.give(append(out, ": keep-alive\n\n"...))
	}
}

func (s *followStream) give(out []byte) { s.buf.b, s.unread = out, out }

// finish ends the stream. A client of an event stream gets an error as an event; one that reads NDJSON
// sees the stream end. Neither gets an error for its own disconnect.
func (s *followStream) finish(out []byte, err error) {
	s.ended = true
	if s.ctx.Err() != nil {
		err = errcode.New(errcode.ShuttingDown, "the broker is shutting down; reconnect to go on after the last event")
	} else {
		s.call.s.log.Warn("stream ended with an error", "topic", s.part.Topic, "partition", s.part.Partition,
			"offset", s.part.Offset, "request_id", string(s.call.info.ID), "error", err)
	}
	if s.form != mediaSSE {
		s.give(out)
		return
	}
	e := errcode.From(err)
	s.call.info.Err = e
	out = append(out, "event: error\ndata: "...)
	out = append(out, e.Problem()...)
	s.give(append(out, "\n\n"...))
}
