package httpapi

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/errcode"
)

// Observer is called for every request that has a route. Its methods are called from many goroutines.
type Observer interface {
	// RequestStarted is called before the request's body is read. The context that it returns
	// reaches the broker and RequestFinished.
	RequestStarted(ctx context.Context, r *Request) context.Context
	// RequestFinished is called once for every start: after the answer's last byte was handed to
	// the connection, or when the connection was lost.
	RequestFinished(ctx context.Context, r *Request)
}

// Request describes a request to an Observer. It is valid only until the method that got it returns.
type Request struct {
	Method   string
	Route    string // the pattern, for example /v1/topics/{topic}/records
	ID       []byte // X-Request-Id, the client's or one made up
	Headers  Headers
	BytesIn  int64 // of the body, as far as it was read
	BytesOut int64 // of the answer's body
	Status   int   // 0 until finished
	Err      *errcode.Error
	Started  time.Time
	Duration time.Duration // 0 until finished
}

// Headers reads a request's headers. It has the methods of OpenTelemetry's text map carrier.
type Headers struct {
	h *fasthttp.RequestHeader
}

// Get is the header's first value, or "".
func (h Headers) Get(name string) string { return string(h.h.Peek(name)) }

// Set is there for the carrier interface and does nothing: a request's headers are read only.
func (h Headers) Set(string, string) {}

// Keys are the names of all headers.
func (h Headers) Keys() []string {
	var keys []string
	for k := range h.h.All() {
		keys = append(keys, string(k))
	}
	return keys
}
