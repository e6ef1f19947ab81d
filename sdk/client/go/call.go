package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/errcode"
)

// Content types of the API.
const (
	typeBatches = "application/vnd.wasmill.batches"
	typeFetch   = "application/vnd.wasmill.fetch"
	typeJSON    = "application/json"
	typeNDJSON  = "application/x-ndjson"
	typeWasm    = "application/wasm"
)

// call is one request. body is read until the call returns.
type call struct {
	op          string // for messages: "create topic orders"
	method      string
	path        string // escaped
	query       url.Values
	contentType string
	accept      string
	header      [][2]string
	body        []byte
	wait        time.Duration // how long the server may hold the answer back, on top of Options.Timeout
	repeatable  bool          // a second delivery has no second effect
	once        bool          // never retried here: the caller does
}

// do sends the call, retrying where that is safe, and leaves a successful answer in resp.
func (c *Client) do(ctx context.Context, r call, resp *fasthttp.Response) error {
	for attempt := 0; ; attempt++ {
		err := c.attempt(ctx, r, resp)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w", r.op, err)
		if r.once || attempt >= c.o.Retries || ctx.Err() != nil || !mayRepeat(err, r.repeatable) {
			return err
		}
		if waitErr := sleep(ctx, c.backoff(attempt, err)); waitErr != nil {
			return err
		}
		resp.Reset()
	}
}

// attempt sends the call once.
func (c *Client) attempt(ctx context.Context, r call, resp *fasthttp.Response) error {
	req := fasthttp.AcquireRequest()
	defer fasthttp.ReleaseRequest(req)
	c.fill(req, r)
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout+r.wait)
	defer cancel()
	resp.SkipBody = r.method == fasthttp.MethodHead
	sent, err := c.pool.roundTrip(ctx, req, resp, c.o.MaxResponseBytes)
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return fmt.Errorf("%w: its body is larger than %d bytes", ErrBadAnswer, c.o.MaxResponseBytes)
	case err != nil:
		return &ConnError{Server: c.base, Sent: sent, Err: err}
	}
	if s := resp.StatusCode(); s < 200 || s > 299 {
		return errorFrom(resp)
	}
	return nil
}

// fill writes the request line and header straight, past fasthttp's URI, which would normalise
// escaped names.
func (c *Client) fill(req *fasthttp.Request, r call) {
	uri := r.path
	if len(r.query) > 0 {
		uri += "?" + r.query.Encode()
	}
	h := &req.Header
	h.SetMethod(r.method)
	h.SetRequestURI(uri)
	h.SetHost(c.host)
	h.SetUserAgent(c.o.UserAgent)
	if r.accept != "" {
		h.Set(fasthttp.HeaderAccept, r.accept)
	}
	for _, kv := range r.header {
		h.Set(kv[0], kv[1])
	}
	if r.contentType != "" {
		h.SetContentType(r.contentType)
	}
	if r.body != nil {
		req.SetBodyRaw(r.body)
	}
}

// mayRepeat reports whether a failed call can be sent again without risking that it takes effect twice.
func mayRepeat(err error, repeatable bool) bool {
	var ce *ConnError
	if errors.As(err, &ce) {
		return (!ce.Sent || repeatable) && !errors.Is(err, errClosed)
	}
	var e *Error
	if !errors.As(err, &e) || !e.Retriable {
		return false
	}
	// These two are said before anything is done.
	return repeatable || e.Code == errcode.Overloaded || e.Code == errcode.ThrottlingQuotaExceeded
}

// backoff is how long to wait before the attempt after the given one (from 0).
func (c *Client) backoff(attempt int, err error) time.Duration {
	d := c.o.Backoff << min(attempt, 16)
	if d > c.o.MaxBackoff || d <= 0 {
		d = c.o.MaxBackoff
	}
	d = d/2 + rand.N(d/2+1)
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > d {
		d = e.RetryAfter
	}
	return d
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// doJSON sends in as JSON (nil for no body) and decodes the answer into out (nil to ignore it).
func (c *Client) doJSON(ctx context.Context, r call, in, out any) error {
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s: encode: %w", r.op, err)
		}
		r.body, r.contentType = b, typeJSON
	}
	if out != nil {
		r.accept = typeJSON
	}
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)
	if err := c.do(ctx, r, resp); err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(resp.Body(), out); err != nil {
		return fmt.Errorf("%s: %w: %w", r.op, ErrBadAnswer, err)
	}
	return nil
}

func get(op, path string) call {
	return call{op: op, method: fasthttp.MethodGet, path: path, repeatable: true}
}

func put(op, path string) call {
	return call{op: op, method: fasthttp.MethodPut, path: path, repeatable: true}
}

func del(op, path string) call {
	return call{op: op, method: fasthttp.MethodDelete, path: path, repeatable: true}
}

func post(op, path string) call {
	return call{op: op, method: fasthttp.MethodPost, path: path}
}

// seg escapes one path segment.
func seg(name string) string {
	if name == "." || name == ".." {
		return "%2E" + name[1:] // left alone, a proxy would take it for a step in the path
	}
	return url.PathEscape(name)
}
