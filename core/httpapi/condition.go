package httpapi

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/errcode"
)

// expected is the version that a PUT or DELETE says its resource must have: If-Match: "N" names it,
// If-None-Match: * says that there must be none yet, which is version 0. nil without either: any.
func (c *call) expected() (*uint64, error) {
	h := &c.http.Request.Header
	match, none := h.Peek(fasthttp.HeaderIfMatch), h.Peek(fasthttp.HeaderIfNoneMatch)
	var version uint64
	switch {
	case match == nil && none == nil:
		return nil, nil
	case match != nil && none != nil:
		return nil, errcode.New(errcode.InvalidRequest, "If-Match and If-None-Match exclude each other")
	case none != nil:
		if string(none) != "*" {
			return nil, errcode.New(errcode.InvalidRequest, "If-None-Match is %s; this call takes * alone: nothing of this name must be there yet", clip(none))
		}
	default:
		n, err := strconv.ParseUint(unquoted(match), 10, 64)
		if err != nil || n == 0 {
			return nil, errcode.New(errcode.InvalidRequest, `If-Match is %s; it must be one ETag as this address answers it, a version in quotes such as "3"`, clip(match))
		}
		version = n
	}
	return &version, nil
}

// unquoted is what is between the quotes of a strong entity tag, "" when it is none.
func unquoted(tag []byte) string {
	if n := len(tag); n > 2 && tag[0] == '"' && tag[n-1] == '"' {
		return string(tag[1 : n-1])
	}
	return ""
}

// answerVersion answers with v, whose version is its ETag.
func (c *call) answerVersion(status int, version uint64, v any) error {
	tag := append(c.number[:0], '"')
	tag = append(strconv.AppendUint(tag, version, 10), '"')
	c.http.Response.Header.SetBytesV(fasthttp.HeaderETag, tag)
	return c.answerJSON(status, v)
}

// putStatus is the status of a PUT that succeeded.
func putStatus(created bool) int {
	if created {
		return fasthttp.StatusCreated
	}
	return fasthttp.StatusOK
}
