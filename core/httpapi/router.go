package httpapi

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
)

// A route's handler answers by writing to the call's context, or returns the error to answer with;
// what it had written is then thrown away.
type handler func(*call) error

// route is one method at one address.
type route struct {
	method   string
	pattern  string // parameters are in braces, each is one path segment
	handle   handler
	segments []string // "" marks a parameter

	waits  bool // long polls and streams: ends at once when the server shuts down
	always bool // answered during shutdown too
}

// maxSegments is more than any route has.
const maxSegments = 8

// maxParams is the most parameters that a route has.
const maxParams = 2

// router finds routes without allocating: paths are compared segment by segment, the routes with as
// many segments as the path are few.
type router struct {
	bySegments [maxSegments + 1][]*route
}

func newRouter(routes []*route) *router {
	r := &router{}
	for _, rt := range routes {
		rt.segments = strings.Split(rt.pattern[1:], "/")
		for i, seg := range rt.segments {
			if seg[0] == '{' {
				rt.segments[i] = ""
			}
		}
		n := len(rt.segments)
		r.bySegments[n] = append(r.bySegments[n], rt)
	}
	return r
}

// find looks up a path as it was sent; params are decoded and may alias it. A slash that is escaped
// belongs to its segment. HEAD finds what GET finds. When only the method does not fit, route is nil
// and allow names the methods that would.
func (r *router) find(method, path []byte, params *[maxParams][]byte) (found *route, allow []string) {
	if len(path) == 0 || path[0] != '/' {
		return nil, nil
	}
	var segments [maxSegments][]byte
	n := 0
	for rest := path[1:]; ; n++ {
		if n == maxSegments {
			return nil, nil
		}
		seg, tail, more := bytes.Cut(rest, []byte{'/'})
		segments[n] = unescapeSegment(seg)
		if !more {
			n++
			break
		}
		rest = tail
	}
	head := string(method) == "HEAD"
	for _, rt := range r.bySegments[n] {
		if !rt.match(segments[:n], params) {
			continue
		}
		if string(method) == rt.method || head && rt.method == "GET" {
			return rt, nil
		}
		allow = append(allow, rt.method)
		if rt.method == "GET" {
			allow = append(allow, "HEAD")
		}
	}
	slices.Sort(allow)
	return nil, slices.Compact(allow)
}

func (rt *route) match(segments [][]byte, params *[maxParams][]byte) bool {
	p := 0
	for i, want := range rt.segments {
		if want == "" {
			if len(segments[i]) == 0 {
				return false
			}
			params[p] = segments[i]
			p++
		} else if string(segments[i]) != want {
			return false
		}
	}
	return true
}

// unescapeSegment resolves percent escapes; what is no escape stays as it is.
func unescapeSegment(seg []byte) []byte {
	if bytes.IndexByte(seg, '%') < 0 {
		return seg
	}
	out := make([]byte, 0, len(seg))
	for i := 0; i < len(seg); i++ {
		if seg[i] == '%' && i+2 < len(seg) {
			var c [1]byte
			if _, err := hex.Decode(c[:], seg[i+1:i+3]); err == nil {
				out = append(out, c[0])
				i += 2
				continue
			}
		}
		out = append(out, seg[i])
	}
	return out
}
