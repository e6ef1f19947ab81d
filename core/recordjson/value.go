package recordjson

import (
	"bytes"
	"slices"
	"strconv"
)

// value is the value that comes next in compact form. It aliases the scanner's buffer, in which it is
// compacted: that never needs more room than it has.
func (s *scanner) value() ([]byte, error) {
	raw, spaced, err := s.raw()
	if err == nil && spaced {
		raw = appendCompact(raw[:0], raw)
	}
	return raw[:len(raw):len(raw)], err
}

// raw steps over the value that comes next and returns it as it is written. spaced is whether there is
// white space in it outside of strings.
func (s *scanner) raw() (text []byte, spaced bool, err error) {
	s.blanks()
	start, before := s.pos, s.spaces
	if err := s.skip(); err != nil {
		return nil, false, err
	}
	return s.b[start:s.pos], s.spaces != before, nil
}

// skip steps over the value that comes next and checks it.
func (s *scanner) skip() error {
	switch c := s.peek(); {
	case c == '{', c == '[':
		return s.skipNested(c + 2) // the closing bracket of either
	case c == '"':
		_, _, _, err := s.quoted()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, literal := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.b[s.pos:], []byte(literal)) {
			s.pos += len(literal)
			return nil
		}
	}
	return s.unexpected("a value")
}

// skipNested is skip for an object or an array, at its first byte.
func (s *scanner) skipNested(closing byte) error {
	if s.depth == maxDepth {
		return s.errorAt(s.pos, "values are nested more than %d deep", maxDepth)
	}
	s.depth++
	s.pos++
	if s.take(closing) {
		s.depth--
		return nil
	}
	for {
		if closing == '}' {
			if s.peek() != '"' {
				return s.unexpected("a member's name in double quotes")
			}
			if _, _, _, err := s.quoted(); err != nil {
				return err
			}
			if !s.take(':') {
				return s.unexpected("a colon")
			}
		}
		if err := s.skip(); err != nil {
			return err
		}
		if s.take(closing) {
			s.depth--
			return nil
		}
		if !s.take(',') {
			return s.unexpected("a comma or " + string(closing))
		}
	}
}

// number steps over the number that comes next.
func (s *scanner) number() error {
	if s.at('-') {
		s.pos++
	}
	if s.at('0') {
		s.pos++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.at('.') {
		s.pos++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		return s.digits()
	}
	return nil
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.b) && s.b[s.pos] == c }

func (s *scanner) digits() error {
	end := s.pos
	for end < len(s.b) && s.b[end] >= '0' && s.b[end] <= '9' {
		end++
	}
	if end == s.pos {
		return s.unexpected("a digit")
	}
	s.pos = end
	return nil
}

// appendCompact appends checked JSON without the white space outside of its strings. dst may be the
// beginning of src: what is written never gets ahead of what is read.
func appendCompact(dst, src []byte) []byte {
	n := len(dst)
	out := slices.Grow(dst, len(src))[:n+len(src)]
	for i := 0; i < len(src); {
		switch c := src[i]; {
		case c == '"':
			end := stringEnd(src, i+1)
			n += copy(out[n:], src[i:end])
			i = end
		case c <= ' ':
			i++
		default:
			out[n] = c
			n++
			i++
		}
	}
	return out[:n]
}

// stringEnd is the position after the closing quote of a checked string whose inside is at pos.
func stringEnd(b []byte, pos int) int {
	for {
		pos += plainRun(b[pos:])
		switch b[pos] {
		case '"':
			return pos + 1
		case '\\':
			pos += 2
		default:
			pos++
		}
	}
}

// integer reads a whole number within bounds.
func (s *scanner) integer(name, want string, least, most int64) (int64, error) {
	at := s.pos
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return 0, s.unexpected(name + ", " + want + ",")
	}
	text, _, err := s.raw()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < least || n > most {
		return 0, s.errorAt(at, "%s is %s; it must be %s", name, clip(text), want)
	}
	return n, nil
}

func (s *scanner) stringOrNull() (string, error) {
	if s.null() {
		return "", nil
	}
	text, err := s.text()
	return string(text), err
}
