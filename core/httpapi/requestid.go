package httpapi

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync/atomic"
)

const headerRequestID = "X-Request-Id"

// maxRequestID is the longest id taken from a client.
const maxRequestID = 64

// requestIDs makes ids that are unique per process by counting and across processes by chance.
type requestIDs struct {
	prefix [17]byte // eight random bytes in hex and a dash
	next   atomic.Uint64
}

func (r *requestIDs) init() {
	var random [8]byte
	// Read never fails: it crashes the program when the system has no randomness.
	_, _ = rand.Read(random[:])
	hex.Encode(r.prefix[:], random[:])
	r.prefix[16] = '-'
}

// forRequest appends the client's id to dst, or a new one when the client gave none that is fit for
// logs and headers.
func (r *requestIDs) forRequest(dst, given []byte) []byte {
	if validRequestID(given) {
		return append(dst, given...)
	}
	dst = append(dst, r.prefix[:]...)
	return strconv.AppendUint(dst, r.next.Add(1), 36)
}

func validRequestID(id []byte) bool {
	if len(id) == 0 || len(id) > maxRequestID {
		return false
	}
	for _, c := range id {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
