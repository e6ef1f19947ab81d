package jsonscan

import "unicode/utf8"

// AppendText appends what a value says: the decoded text of a string, the JSON text of
// anything else.
func AppendText(dst, raw []byte) []byte {
	if KindOf(raw) == String {
		return AppendUnquoted(dst, raw)
	}
	return append(dst, raw...)
}

// AppendUnquoted appends the text of a valid JSON string, given with its quotes. As in
// encoding/json, invalid UTF-8 and lone surrogates become U+FFFD.
func AppendUnquoted(dst, quoted []byte) []byte {
	b := quoted[1 : len(quoted)-1]
	for len(b) > 0 {
		switch c := b[0]; {
		case c == '\\':
			var r rune
			r, b = unescape(b)
			dst = utf8.AppendRune(dst, r)
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			b = b[1:]
		default:
			r, n := utf8.DecodeRune(b)
			dst = utf8.AppendRune(dst, r)
			b = b[n:]
		}
	}
	return dst
}

// unescape decodes the escape that b starts with, a surrogate pair included.
func unescape(b []byte) (rune, []byte) {
	switch c := b[1]; c {
	case 'b':
		return '\b', b[2:]
	case 'f':
		return '\f', b[2:]
	case 'n':
		return '\n', b[2:]
	case 'r':
		return '\r', b[2:]
	case 't':
		return '\t', b[2:]
	case 'u':
		r, rest := hex4(b[2:]), b[6:]
		if r < 0xD800 || r >= 0xE000 {
			return r, rest
		}
		if r < 0xDC00 && len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
			if low := hex4(rest[2:]); low >= 0xDC00 && low < 0xE000 {
				return (r-0xD800)<<10 | (low - 0xDC00) + 0x10000, rest[6:]
			}
		}
		return utf8.RuneError, rest
	default: // a quote, a backslash or a slash
		return rune(c), b[2:]
	}
}

// AppendQuoted appends s as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD.
func AppendQuoted(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
