package httpapi

import (
	"bytes"
	"slices"
	"strings"
)

// A route's handler answers by writing to the call's context, or returns the error to answer with;
// what it had written is then thrown away.
type handler func(*call) error

// route is one method at one address.
type route struct {
	method   string
	pattern  string // parameters stand in braces, each fills one path segment
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

// find looks up a path; params alias it. HEAD finds what GET finds. When only the method does not
// fit, route is nil and allow names the methods that would.
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
		segments[n] = seg
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
