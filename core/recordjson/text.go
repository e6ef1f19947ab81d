package recordjson

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// text is the string that comes next, unescaped in place: it aliases the buffer.
func (s *scanner) text() ([]byte, error) {
	start, end, escaped, err := s.quoted()
	if err != nil {
		return nil, err
	}
	// The capacity ends with the string: an append must not reach into the rest.
	if !escaped {
		return s.b[start:end:end], nil
	}
	n := unescape(s.b[start:end])
	return s.b[start : start+n : start+n], nil
}

// quoted steps over a string and checks it. start and end are those of its inside.
func (s *scanner) quoted() (start, end int, escaped bool, err error) {
	if s.peek() != '"' {
		return 0, 0, false, s.unexpected("a string")
	}
	s.pos++
	start = s.pos
	ascii := true
	for i := start; ; i++ {
		i += plainRun(s.b[i:])
		if i == len(s.b) {
			break
		}
		switch c := s.b[i]; {
		case c == '"':
			if !ascii {
				if bad := invalidUTF8(s.b[start:i]); bad >= 0 {
					return 0, 0, false, s.errorAt(start+bad, "the string is not valid UTF-8; bytes go into a member whose name ends in _b64")
				}
			}
			s.pos = i + 1
			return start, i, escaped, nil
		case c == '\\':
			n := escapeLen(s.b[i:])
			if n == 0 {
				return 0, 0, false, s.errorAt(i, "this is no escape sequence")
			}
			escaped = true
			i += n - 1
		case c >= utf8.RuneSelf:
			ascii = false
		case c < 0x20:
			return 0, 0, false, s.errorAt(i, "a string must not contain the control character %#02x; write it as an escape", c)
		}
	}
	return 0, 0, false, s.errorAt(len(s.b), "the text ends within the string that begins at column %d", start-s.lineStart)
}

func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// escapeLen is the length of the escape sequence that b begins with, 0 when it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b); ok {
			return 6
		}
	}
	return 0
}

// hex4 decodes \uXXXX at the beginning of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape resolves the checked escapes of b in place and returns the new length. Half of a
// surrogate pair on its own becomes U+FFFD.
func unescape(b []byte) int {
	const short = "\"\"\\\\//b\bf\fn\nr\rt\t"
	w := 0
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			b[w] = b[i]
			w++
			i++
			continue
		}
		if r, ok := hex4(b[i:]); ok {
			i += 6
			if utf16.IsSurrogate(r) {
				low, _ := hex4(b[i:])
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			w += utf8.EncodeRune(b[w:], r)
			continue
		}
		for k := 0; k < len(short); k += 2 {
			if short[k] == b[i+1] {
				b[w] = short[k+1]
				break
			}
		}
		w++
		i += 2
	}
	return w
}

// plainRun is how many bytes at the beginning of b are neither quote, backslash, control character
// nor beyond ASCII. It looks at eight bytes at a time.
func plainRun(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		v := binary.LittleEndian.Uint64(b[i:])
		quote, slash := v^(ones*'"'), v^(ones*'\\')
		special := v | (v - ones*0x20) | (quote - ones) | (slash - ones)
		if special&highs != 0 {
			break
		}
	}
	for i < len(b) && b[i] >= 0x20 && b[i] < 0x80 && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}
