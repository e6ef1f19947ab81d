package httpapi

import (
	"bytes"
	"strconv"

	"github.com/wasmill/wasmill/core/errcode"
)

// Media types that the API takes or gives.
const (
	mediaBatches = "application/vnd.wasmill.batches"
	mediaFetch   = "application/vnd.wasmill.fetch"
	mediaJSON    = "application/json"
	mediaNDJSON  = "application/x-ndjson"
	mediaSSE     = "text/event-stream"
	mediaWasm    = "application/wasm"
	mediaOctets  = "application/octet-stream"
)

// mediaType is a Content-Type's type, without parameters and blanks around it. It aliases v.
func mediaType(v []byte) []byte {
	t, _, _ := bytes.Cut(v, []byte{';'})
	return bytes.TrimSpace(t)
}

func isMedia(v []byte, media string) bool {
	return len(v) == len(media) && bytes.EqualFold(v, []byte(media))
}

func hasMediaPrefix(v []byte, prefix string) bool {
	return len(v) >= len(prefix) && bytes.EqualFold(v[:len(prefix)], []byte(prefix))
}

// negotiate chooses among the offers by an Accept header: the highest quality wins, the order of
// offers breaks ties. No header accepts everything.
func negotiate(accept []byte, offers []string) (string, error) {
	if len(bytes.TrimSpace(accept)) == 0 {
		return offers[0], nil
	}
	best, bestQ := "", 0
	for _, offer := range offers {
		if q := quality(accept, offer); q > bestQ {
			best, bestQ = offer, q
		}
	}
	if bestQ == 0 {
		return "", errcode.New(errcode.NotAcceptable, "Accept is %q; this call answers in one of %q", accept, offers).
			With("offers", offers)
	}
	return best, nil
}

// quality is how much an Accept header wants a media type, in thousandths; 0 means that it is
// refused. The most specific range that covers the type counts.
func quality(accept []byte, media string) int {
	q, specific := 0, -1
	for rest := accept; len(rest) > 0; {
		var item []byte
		item, rest, _ = bytes.Cut(rest, []byte{','})
		rng, params, _ := bytes.Cut(item, []byte{';'})
		if s := covers(bytes.TrimSpace(rng), media); s > specific {
			specific, q = s, qValue(params)
		}
	}
	return q
}

// covers returns how closely a media range names a type: 2 in full, 1 by its main type, 0 as */*,
// -1 not at all.
func covers(rng []byte, media string) int {
	switch {
	case isMedia(rng, media):
		return 2
	case string(rng) == "*/*":
		return 0
	case bytes.HasSuffix(rng, []byte("/*")):
		if hasMediaPrefix([]byte(media), string(rng[:len(rng)-1])) {
			return 1
		}
	}
	return -1
}

// qValue is the q parameter in thousandths; one that is absent or makes no sense counts as 1.
func qValue(params []byte) int {
	for rest := params; len(rest) > 0; {
		var p []byte
		p, rest, _ = bytes.Cut(rest, []byte{';'})
		name, value, _ := bytes.Cut(bytes.TrimSpace(p), []byte{'='})
		if len(name) == 1 && (name[0] == 'q' || name[0] == 'Q') {
			f, err := strconv.ParseFloat(string(value), 64)
			if err != nil || !(f >= 0 && f <= 1) {
				return 1000
			}
			return int(f * 1000)
		}
	}
	return 1000
}
