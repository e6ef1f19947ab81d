package recordjson

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wasmill/wasmill/core/record"
)

// timestampLayout is RFC 3339 in UTC to the millisecond.
const timestampLayout = "2006-01-02T15:04:05.000Z07:00"

// Bounds of what RFC 3339 can say, in ms since 1970: the years 0 to 9999.
const (
	minTimestamp = -62_167_219_200_000
	maxTimestamp = 253_402_300_799_999
)

// AppendRecord appends a record as a JSON object on one line. What a client reads here and produces
// again becomes the same key and value: see appendBytes.
func AppendRecord(dst []byte, partition int32, offset int64, r *record.Record) []byte {
	dst = append(dst, `{"partition":`...)
	dst = strconv.AppendInt(dst, int64(partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, offset, 10)
	dst = append(dst, ',')
	dst = AppendContents(dst, r)
	return append(dst, '}')
}

// AppendContents appends the members timestamp, key, value and, if there are any, headers.
func AppendContents(dst []byte, r *record.Record) []byte {
	dst = append(dst, `"timestamp":`...)
	dst = appendTimestamp(dst, r.Timestamp)
	dst = append(dst, ',')
	dst = appendBytes(dst, "key", r.Key)
	dst = append(dst, ',')
	dst = appendBytes(dst, "value", r.Value)
	if len(r.Headers) > 0 {
		dst = append(dst, `,"headers":[`...)
		for i := range r.Headers {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '{')
			dst = appendText(dst, "key", r.Headers[i].Key)
			dst = append(dst, ',')
			dst = appendText(dst, "value", r.Headers[i].Value)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	return dst
}

// appendTimestamp appends RFC 3339 text, a bare number where that cannot say the time, or null for
// Kafka's "no timestamp".
func appendTimestamp(dst []byte, ms int64) []byte {
	if ms == -1 {
		return append(dst, "null"...)
	}
	if ms < minTimestamp || ms > maxTimestamp {
		return strconv.AppendInt(dst, ms, 10)
	}
	dst = append(dst, '"')
	dst = time.UnixMilli(ms).UTC().AppendFormat(dst, timestampLayout)
	return append(dst, '"')
}

// appendBytes appends a member that holds a key or a value. Bytes that are the JSON of an object, an
// array, a number, true or false appear as that; other UTF-8 as a string; anything else in base64
// under the name with _b64. Null is null: the four bytes "null" and bytes that are a JSON string
// appear as strings of those characters, so that producing what was fetched gives the same bytes.
func appendBytes(dst []byte, name string, v []byte) []byte {
	if len(v) > 0 && mayBeJSON(v[0]) {
		s := newScanner(v)
		s.probe = true
		raw, spaced, err := s.raw()
		if err == nil && s.end() == nil {
			dst = appendName(dst, name, "")
			if spaced {
				return appendCompact(dst, raw)
			}
			return append(dst, raw...)
		}
	}
	return appendText(dst, name, v)
}

// mayBeJSON reports whether a value that is shown as JSON may begin with c.
func mayBeJSON(c byte) bool {
	switch c {
	case '{', '[', '-', 't', 'f', ' ', '\t', '\r', '\n':
		return true
	}
	return c >= '0' && c <= '9'
}

// appendText appends a member whose bytes are a string, or base64 when they are not UTF-8.
func appendText(dst []byte, name string, v []byte) []byte {
	switch {
	case v == nil:
		return append(appendName(dst, name, ""), "null"...)
	case utf8.Valid(v):
		return appendString(appendName(dst, name, ""), v)
	}
	dst = append(appendName(dst, name, base64Suffix), '"')
	dst = base64.StdEncoding.AppendEncode(dst, v)
	return append(dst, '"')
}

func appendName(dst []byte, name, suffix string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, suffix...)
	return append(dst, '"', ':')
}

// appendString appends UTF-8 as a JSON string.
func appendString(dst, text []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		if n := plainRun(text[i:]); n > 0 {
			dst = append(dst, text[i:i+n]...)
			i += n
			continue
		}
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}

// AppendString appends text that may be anything as a JSON string; what is not UTF-8 becomes U+FFFD.
func AppendString(dst []byte, text string) []byte {
	return appendString(dst, []byte(strings.ToValidUTF8(text, "\ufffd")))
}
