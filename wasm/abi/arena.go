package abi

import (
	"strings"
	"unicode/utf8"

	"github.com/wasmill/wasmill/core/record"
)

const (
	arenaChunk    = 64 << 10 // first chunk, bytes
	arenaKeep     = 4 << 20  // a larger chunk is freed at Reset
	headerChunk   = 256
	maxTopics     = 64 // interned names
	maxMessageLen = 1024
)

// Arena owns the bytes of decoded records. Its slices stay valid until Reset, also when the arena grows. The
// zero Arena is ready to use. Not safe for concurrent use.
type Arena struct {
	bytes   []byte // free space is bytes[len:cap]
	used    int    // bytes copied since Reset
	headers []record.RecordHeader
	topics  map[string]string
}

// Reset reuses all bytes: everything decoded into the arena before is void.
func (a *Arena) Reset() {
	if cap(a.bytes) > arenaKeep {
		a.bytes = nil
	}
	a.bytes, a.used = a.bytes[:0], 0
	clear(a.headers)
	a.headers = a.headers[:0]
}

// Used is how many bytes were copied into the arena since Reset.
func (a *Arena) Used() int { return a.used }

// copy returns a copy of b that is never nil.
func (a *Arena) copy(b []byte) []byte {
	if free := cap(a.bytes) - len(a.bytes); free < len(b) || a.bytes == nil {
		a.bytes = make([]byte, 0, max(arenaChunk, min(2*cap(a.bytes), arenaKeep), len(b)))
	}
	a.used += len(b)
	start := len(a.bytes)
	a.bytes = append(a.bytes, b...)
	return a.bytes[start:len(a.bytes):len(a.bytes)]
}

// newHeaders returns n zero headers; n > 0.
func (a *Arena) newHeaders(n int) []record.RecordHeader {
	if cap(a.headers)-len(a.headers) < n {
		a.headers = make([]record.RecordHeader, 0, max(headerChunk, n))
	}
	start := len(a.headers)
	a.headers = a.headers[:start+n]
	return a.headers[start : start+n : start+n]
}

// topic interns a name: pipelines route to few topics.
func (a *Arena) topic(name []byte) string {
	if s, ok := a.topics[string(name)]; ok {
		return s
	}
	if a.topics == nil || len(a.topics) >= maxTopics {
		a.topics = make(map[string]string, 8)
	}
	s := string(name)
	a.topics[s] = s
	return s
}

// message turns a module's text into one that is safe to show.
func message(b []byte) string {
	if len(b) > maxMessageLen {
		b = b[:maxMessageLen]
		for len(b) > 0 && maxMessageLen-len(b) < utf8.UTFMax && !utf8.Valid(b) {
			b = b[:len(b)-1]
		}
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
