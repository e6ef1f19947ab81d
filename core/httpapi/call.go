package httpapi

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
)

// call is one request on its way through the server. It lives longer than its handler: fasthttp
// closes it when the answer was written or the connection was lost, and only then are the buffers
// that the answer points to given back. It belongs to the connection's goroutine.
type call struct {
	s      *Server
	http   *fasthttp.RequestCtx
	route  *route
	params [maxParams][]byte // valid while the handler runs
	ctx    context.Context   // the broker's
	info   Request
	idBuf  [maxRequestID]byte
	number [20]byte // scratch for header values

	fetch    *broker.FetchResponse // released on Close; may be nil
	out      *buffer               // the answer's body; freed on Close; may be nil
	fetched  int                   // bytes of batches in fetch
	held     int64                 // bytes of the answers' budget, those of fetch not counted
	stream   *followStream         // may be nil
	one      [1]broker.FetchPartition
	observed bool

	bodyEnded bool // the request's body was read to its end, or broke
}

// callKey is where fasthttp keeps the call; values that are io.Closers are closed with the request.
const callKey = "wasmill.call"

func (s *Server) newCall(ctx *fasthttp.RequestCtx) *call {
	c, ok := s.calls.Get().(*call)
	if !ok {
		c = &call{}
	}
	c.s, c.http, c.ctx = s, ctx, s.base
	c.info.Started = time.Now()
	c.info.ID = s.ids.forRequest(c.idBuf[:0], ctx.Request.Header.Peek(headerRequestID))
	ctx.Response.Header.SetBytesV(headerRequestID, c.info.ID)
	ctx.SetUserValue(callKey, c)
	return c
}

// start is called when the route is known.
func (c *call) start(rt *route) {
	c.route = rt
	if rt.waits {
		c.ctx = c.s.polls
	}
	headers := Headers{&c.http.Request.Header}
	if c.s.opts.TraceContext != nil {
		c.ctx = c.s.opts.TraceContext(c.ctx, headers)
	}
	if c.s.opts.Observer != nil {
		c.info.Method, c.info.Route, c.info.Headers = rt.method, rt.pattern, headers
		c.ctx = c.s.opts.Observer.RequestStarted(c.ctx, &c.info)
		c.observed = true
	}
}

// Close ends the call. fasthttp calls it once per request, after the last use of the answer.
func (c *call) Close() error {
	if c.stream != nil {
		c.stream.close()
	}
	if c.observed {
		c.info.Status = c.http.Response.StatusCode()
		c.info.Duration = time.Since(c.info.Started)
		c.s.opts.Observer.RequestFinished(c.ctx, &c.info)
	}
	if c.fetch != nil {
		c.fetch.Release()
	}
	if c.out != nil {
		c.out.free()
	}
	c.s.opts.Admission.Answers.Release(c.held)
	s := c.s
	*c = call{}
	s.calls.Put(c)
	return nil
}

// recoverPanic turns a panic of a handler into a 500 that names nothing but the request.
func (c *call) recoverPanic() {
	if p := recover(); p != nil {
		c.logPanic(p)
		c.fail(errcode.New(errcode.Unknown, "the broker failed on this request; its log has the reason under request id %s", c.info.ID))
		c.http.SetConnectionClose()
	}
}

func (c *call) logPanic(p any) {
	c.s.log.Error("panic while answering a request", "request_id", string(c.info.ID), "method", string(c.http.Method()),
		"path", string(c.http.Path()), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// param is the i-th path parameter, copied: the broker may keep names.
func (c *call) param(i int) string { return string(c.params[i]) }

// partition is the path parameter that numbers a partition.
func (c *call) partition(i int) (int32, error) {
	return parsePartition(c.params[i])
}

func parsePartition(v []byte) (int32, error) {
	n, err := strconv.ParseUint(string(v), 10, 31)
	if err != nil {
		return 0, errcode.New(errcode.InvalidRequest, "partition is %q; it must be a number from 0 on", clip(v))
	}
	return int32(n), nil
}

// clip shortens what a client sent before it is repeated in an error.
func clip(v []byte) []byte {
	const most = 128
	if len(v) > most {
		return append(v[:most:most], "..."...)
	}
	return v
}

// setInt sets a response header to a number without allocating.
func (c *call) setInt(name string, v int64) {
	c.http.Response.Header.SetBytesV(name, strconv.AppendInt(c.number[:0], v, 10))
}

// answerRaw makes body the answer without copying it. It must stay untouched until the call closes.
func (c *call) answerRaw(status int, contentType string, body []byte) {
	c.http.SetStatusCode(status)
	c.http.Response.Header.SetContentType(contentType)
	c.http.Response.SetBodyRaw(body)
	c.info.BytesOut = int64(len(body))
	c.extendWriteDeadline(len(body))
}

// answerOut makes the call's own buffer the answer.
func (c *call) answerOut(status int, contentType string) {
	c.answerRaw(status, contentType, c.out.b)
}

// buffer is the call's own buffer, empty, with room for about n bytes.
func (c *call) buffer(n int) *buffer {
	if c.out != nil {
		c.out.free()
	}
	c.out = newBuffer(n)
	return c.out
}

// hold counts n bytes of the answer, which the call made itself, against the answers' budget until the
// call closes. It does not wait for them: the call holds a part of that budget already, as others may
// that wait. A call that is the only one to hold anything is never refused, or it would be for ever.
func (c *call) hold(n int) error {
	answers := c.s.opts.Admission.Answers
	own := c.held
	if c.fetch != nil {
		own += c.fetch.Held
	}
	more := answers.Clip(own+int64(n)) - own
	if !answers.TryAcquire(more) {
		return answers.Refusal(nil)
	}
	c.held += more
	return nil
}

// extendWriteDeadline gives large answers the time that a slow but steady reader needs.
func (c *call) extendWriteDeadline(n int) {
	extra := time.Duration(n/c.s.opts.MinBodyRate) * time.Second
	if extra == 0 {
		return
	}
	if err := c.http.SetWriteDeadline(time.Now().Add(c.s.opts.WriteTimeout + extra)); err != nil {
		c.s.log.Debug("http: set write deadline", "error", err)
	}
}
