package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
)

// firstChunk is the most that is set aside for a body before any of it has come, in bytes. More is
// earned by sending: else a handful of clients that announce large bodies and then do nothing would
// use up the budget.
const firstChunk = 256 << 10

// body is a request's body in memory, held against the budget. The caller closes it once.
type body struct {
	buf  *buffer
	held int64
	from *admission.Budget
}

func (b *body) bytes() []byte { return b.buf.b }

func (b *body) close() {
	if b.buf != nil {
		b.buf.free()
		b.buf = nil
	}
	b.from.Release(b.held)
	b.held = 0
}

// readBody reads the request's body of at most limit bytes. Nothing is read before its size was
// admitted. An upload that ends early or comes too slowly is an error: the caller never sees a part
// of a body.
func (c *call) readBody(limit int) (body, error) {
	length := c.http.Request.Header.ContentLength()
	if length > limit {
		return body{}, c.tooLarge(limit).With("content_length", length)
	}
	if enc := c.http.Request.Header.Peek("Content-Encoding"); len(enc) > 0 && string(enc) != "identity" {
		return body{}, errcode.New(errcode.UnsupportedMediaType,
			"Content-Encoding %q is not taken; compress the record batches instead, or send the body as it is", clip(enc))
	}
	b := body{from: c.s.opts.Admission.Bodies}
	if c.http.RequestBodyStream() == nil {
		length = max(length, 0)
	}
	if length > firstChunk && !b.from.Fits(int64(classSize(classOf(length)))) {
		return body{}, b.from.Refusal(nil)
	}
	first := length
	if length < 0 || length > firstChunk {
		first = min(firstChunk, limit)
	}
	if err := b.grow(c.ctx, first); err != nil {
		return body{}, err
	}
	if err := c.fill(&b, length, limit); err != nil {
		b.close()
		return body{}, err
	}
	return b, nil
}

func (c *call) tooLarge(limit int) *errcode.Error {
	return errcode.New(errcode.RecordListTooLarge, "the body is larger than this call takes; send at most %d bytes at once", limit).
		With("max_body_bytes", limit)
}

// grow makes room for n bytes in all, keeping what is there.
func (b *body) grow(ctx context.Context, n int) error {
	size := int64(classSize(classOf(n)))
	if err := b.from.Acquire(ctx, size-b.held); err != nil {
		return err
	}
	b.held = size
	buf := newBuffer(n)
	if b.buf != nil {
		buf.b = append(buf.b, b.buf.b...)
		b.buf.free()
	}
	b.buf = buf
	return nil
}

// fill reads the stream into b: exactly length bytes, or all of it when length is negative.
func (c *call) fill(b *body, length, limit int) error {
	stream := c.http.RequestBodyStream()
	if stream == nil {
		if length > 0 {
			return c.incomplete(0, length, io.ErrUnexpectedEOF)
		}
		return nil
	}
	pace := pace{call: c}
	for length < 0 || len(b.buf.b) < length {
		if len(b.buf.b) == cap(b.buf.b) {
			if len(b.buf.b) > limit {
				return c.tooLarge(limit)
			}
			if err := b.grow(c.ctx, 2*len(b.buf.b)); err != nil {
				return err
			}
		}
		end := cap(b.buf.b)
		if length >= 0 {
			end = min(end, length)
		}
		if err := pace.allow(len(b.buf.b)); err != nil {
			return c.incomplete(len(b.buf.b), length, err)
		}
		n, err := stream.Read(b.buf.b[len(b.buf.b):end])
		b.buf.b = b.buf.b[:len(b.buf.b)+n]
		c.info.BytesIn += int64(n)
		if err == nil {
			continue
		}
		c.bodyEnded = true
		if !errors.Is(err, io.EOF) || length >= 0 && len(b.buf.b) < length || length < 0 && !c.lastChunkSeen(stream) {
			return c.incomplete(len(b.buf.b), length, err)
		}
		break
	}
	if len(b.buf.b) > limit {
		return c.tooLarge(limit)
	}
	return nil
}

// lastChunkSeen reports whether a chunked body that gave io.EOF came to its end. fasthttp gives the same
// io.EOF when the connection ends between two chunks, which would make half of an upload look whole.
// But a stream at its end stays there without touching the connection, while any other one reads on:
// past its deadline that cannot give io.EOF.
func (c *call) lastChunkSeen(stream io.Reader) bool {
	if err := c.http.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return false
	}
	var one [1]byte
	n, err := stream.Read(one[:])
	return n == 0 && err == io.EOF
}

// incomplete is the reason why a body cannot be read in full.
func (c *call) incomplete(got, want int, err error) error {
	c.http.SetConnectionClose()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errcode.New(errcode.RequestIncomplete,
			"the body came too slowly: %d bytes within %v; after %v at least %d bytes a second must arrive. Nothing was done",
			got, time.Since(c.info.Started).Round(time.Millisecond), c.s.opts.BodyGrace, c.s.opts.MinBodyRate).
			With("received_bytes", got)
	}
	if want < 0 {
		return errcode.New(errcode.RequestIncomplete, "the body broke off after %d bytes; nothing was done: %w", got, err).
			With("received_bytes", got)
	}
	return errcode.New(errcode.RequestIncomplete, "the body ended after %d of its %d bytes; nothing was done. Send it again in full", got, want).
		With("received_bytes", got).With("content_length", want)
}

// pace keeps an upload moving: by its deadline it must have brought MinBodyRate bytes for every
// second beyond the grace. Deadlines are renewed at most once a second, for their cost.
type pace struct {
	call    *call
	started time.Time
	renewed time.Time
}

// allow sets the deadline of the next read when got bytes have arrived.
func (p *pace) allow(got int) error {
	now := time.Now()
	if p.started.IsZero() {
		p.started = now
	} else if now.Sub(p.renewed) < time.Second {
		return nil
	}
	p.renewed = now
	o := &p.call.s.opts
	earned := time.Duration(float64(got) / float64(o.MinBodyRate) * float64(time.Second))
	return p.call.http.SetReadDeadline(p.started.Add(o.BodyGrace + earned))
}

// Bounds of lingering: after an early refusal the client is still sending. Closing at once would
// make its kernel throw the answer away, so the rest is read for a while.
const (
	lingerBytes = 16 << 20
	lingerTime  = time.Second
)

// drainedByServer is how much of an unread body fasthttp reads itself to keep the connection.
const drainedByServer = 256 << 10

// stillSending reports whether the client has more of its body to send than fasthttp would drain.
func (c *call) stillSending() bool {
	if c.http.RequestBodyStream() == nil || c.bodyEnded {
		return false
	}
	length := int64(c.http.Request.Header.ContentLength())
	return length < 0 || length-c.info.BytesIn > drainedByServer
}

// linger sends the problem at once and then drains the request's body before the answer ends.
func (c *call) linger() {
	problem := c.http.Response.Body()
	c.http.SetConnectionClose()
	c.http.Response.SetBodyStream(&lingering{call: c, problem: problem}, -1)
}

// lingering is a response body: the problem, then nothing for as long as the client keeps sending.
type lingering struct {
	call    *call
	problem []byte
}

// Read gives the problem, which is flushed before the next Read drains.
func (l *lingering) Read(p []byte) (int, error) {
	if len(l.problem) > 0 {
		n := copy(p, l.problem)
		l.problem = l.problem[n:]
		return n, nil
	}
	stream := l.call.http.RequestBodyStream()
	if stream == nil || l.call.http.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return 0, io.EOF
	}
	// Whatever ends the draining, the answer was given.
	_, _ = io.CopyN(io.Discard, stream, lingerBytes)
	return 0, io.EOF
}
