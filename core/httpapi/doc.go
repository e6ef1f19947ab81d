// Package httpapi serves the broker over HTTP with fasthttp. It translates and holds no logic of its
// own: a request's bytes become one call of Broker, the answer or the *errcode.Error becomes bytes.
//
// What it does decide is what a request may cost. A body is admitted before it is read: its size is
// held against a budget that all requests share, and a request that does not fit is answered 503
// with Retry-After instead of growing the heap. Answers that wait for slow readers are held against
// a second budget. Headers, records per request, waiting times and the pace of an upload are bounded
// by Options.
//
// Ownership of bytes: a request body is in a buffer of this package that the broker may patch in
// place until its call returns. Fetched batches stay the broker's; they go to the socket as they are
// and are released once, after the last byte was written or the client was lost.
package httpapi
