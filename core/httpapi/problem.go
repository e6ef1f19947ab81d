package httpapi

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/errcode"
)

// headerRetryAfter is set on every answer whose request is worth sending again.
const headerRetryAfter = "Retry-After"

// fail answers with the error as problem details, in place of whatever the handler had prepared.
func (c *call) fail(err error) {
	e := errcode.From(err)
	if e.Code == errcode.Unknown {
		c.s.log.Error("request failed", "request_id", string(c.info.ID), "method", string(c.http.Method()),
			"path", string(c.http.Path()), "error", err)
	}
	c.info.Err = e
	writeProblem(c.http, e, c.info.ID)
	c.info.BytesOut = int64(len(c.http.Response.Body()))
	if c.stillSending() {
		c.linger()
	}
}

// writeProblem makes the error the response: status, problem details, and the headers that follow
// from its fields.
func writeProblem(ctx *fasthttp.RequestCtx, e *errcode.Error, requestID []byte) {
	h := &ctx.Response.Header
	ctx.Response.ResetBody()
	ctx.SetStatusCode(e.HTTPStatus())
	h.SetContentType(errcode.ProblemContentType)
	if seconds, ok := retryAfter(e); ok {
		h.SetBytesV(headerRetryAfter, strconv.AppendInt(nil, seconds, 10))
	}
	switch e.Code {
	case errcode.MethodNotAllowed, errcode.ViewReadOnly:
		if allow, ok := e.Fields["allow"].([]string); ok {
			h.Set(fasthttp.HeaderAllow, strings.Join(allow, ", "))
		}
	case errcode.OffsetOutOfRange:
		setBound(h, headerLogStart, e.Fields["log_start_offset"])
		setBound(h, headerHighWatermark, e.Fields["high_watermark"])
	case errcode.NotLeaderOrFollower:
		if leader, ok := e.Fields["leader"].(string); ok && leader != "" {
			h.Set(headerLeader, leader)
		}
	}
	if len(requestID) > 0 {
		e = e.With("request_id", string(requestID))
	}
	ctx.Response.SetBodyRaw(e.Problem())
}

func setBound(h *fasthttp.ResponseHeader, name string, v any) {
	if n, ok := v.(int64); ok {
		h.SetBytesV(name, strconv.AppendInt(nil, n, 10))
	}
}

// retryAfter is how long to wait, in whole seconds, at least one: what the error says, else one
// second for a code that a retry can help.
func retryAfter(e *errcode.Error) (int64, bool) {
	var millis int64
	switch v := e.Fields["retry_after_ms"].(type) {
	case int:
		millis = int64(v)
	case int64:
		millis = v
	case float64:
		millis = int64(v)
	default:
		return 1, e.Retriable()
	}
	return max(1, (millis+999)/1000), true
}

// refuse answers what fasthttp could not make a request of. The connection is closed afterwards.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	id := s.ids.forRequest(nil, nil)
	ctx.Response.Header.SetBytesV(headerRequestID, id)
	writeProblem(ctx, s.requestFault(err), id)
}

func (s *Server) requestFault(err error) *errcode.Error {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		return errcode.New(errcode.InvalidRequest, "request line and headers are larger than %d bytes; send fewer or shorter headers", s.opts.MaxHeaderBytes).
			With("max_header_bytes", s.opts.MaxHeaderBytes)
	case errors.As(err, &timeout) && timeout.Timeout():
		return errcode.New(errcode.RequestIncomplete, "the request's headers and the first byte of its body were not there within %v; nothing was done", s.opts.HeaderTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errcode.New(errcode.RequestIncomplete, "the connection ended in the middle of the request; nothing was done")
	}
	return errcode.New(errcode.InvalidRequest, "this is not an HTTP request: %w", err)
}
