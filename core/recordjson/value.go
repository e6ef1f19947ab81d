package recordjson

import (
	"bytes"
	"strconv"
)

// value appends the value that comes next to dst in compact form and steps over it. dst may be the
// scanner's own buffer as far as the scanner has passed it: compacting only ever shrinks.
func (s *scanner) value(dst []byte) ([]byte, error) {
	switch c := s.peek(); {
	case c == '{':
		return s.nested(dst, '}')
	case c == '[':
		return s.nested(dst, ']')
	case c == '"':
		start, end, _, err := s.quoted()
		if err != nil {
			return dst, err
		}
		return append(dst, s.b[start-1:end+1]...), nil
	case c == '-' || c >= '0' && c <= '9':
		return s.number(dst)
	}
	for _, literal := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.b[s.pos:], []byte(literal)) {
			s.pos += len(literal)
			return append(dst, literal...), nil
		}
	}
	return dst, s.unexpected("a value")
}

// nested is value for an object or an array, at its first byte.
func (s *scanner) nested(dst []byte, closing byte) ([]byte, error) {
	if s.depth == maxDepth {
		return dst, s.errorAt(s.pos, "values are nested more than %d deep", maxDepth)
	}
	s.depth++
	defer func() { s.depth-- }()
	dst = append(dst, s.b[s.pos])
	element := func() error {
		var err error
		dst, err = s.value(dst)
		return err
	}
	first := true
	separate := func() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
	}
	var err error
	if closing == ']' {
		err = s.array("an array", func() error {
			separate()
			return element()
		})
	} else {
		err = s.members(func() error {
			separate()
			if s.peek() != '"' {
				return s.unexpected("a member's name in double quotes")
			}
			if err := element(); err != nil {
				return err
			}
			if err := s.expect(':', "a colon"); err != nil {
				return err
			}
			dst = append(dst, ':')
			return element()
		})
	}
	if err != nil {
		return dst, err
	}
	return append(dst, closing), nil
}

// members calls member at every name of an object.
func (s *scanner) members(member func() error) error {
	if err := s.expect('{', "an object"); err != nil {
		return err
	}
	if s.take('}') {
		return nil
	}
	for {
		if err := member(); err != nil {
			return err
		}
		if s.take('}') {
			return nil
		}
		if err := s.expect(',', "a comma or }"); err != nil {
			return err
		}
	}
}

// number appends the number that comes next as it is written.
func (s *scanner) number(dst []byte) ([]byte, error) {
	start := s.pos
	if s.at('-') {
		s.pos++
	}
	if s.at('0') {
		s.pos++
	} else if err := s.digits(); err != nil {
		return dst, err
	}
	if s.at('.') {
		s.pos++
		if err := s.digits(); err != nil {
			return dst, err
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if err := s.digits(); err != nil {
			return dst, err
		}
	}
	return append(dst, s.b[start:s.pos]...), nil
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.b) && s.b[s.pos] == c }

func (s *scanner) digits() error {
	start := s.pos
	for s.pos < len(s.b) && s.b[s.pos] >= '0' && s.b[s.pos] <= '9' {
		s.pos++
	}
	if s.pos == start {
		return s.unexpected("a digit")
	}
	return nil
}

// integer reads a whole number within bounds.
func (s *scanner) integer(name, want string, least, most int64) (int64, error) {
	at := s.pos
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return 0, s.unexpected(name + ", " + want + ",")
	}
	var scratch [32]byte
	text, err := s.value(scratch[:0])
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
