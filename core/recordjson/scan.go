package recordjson

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/wasmill/wasmill/core/errcode"
)

// maxDepth is how deeply JSON values may be nested.
const maxDepth = 512

// scanner reads JSON (RFC 8259) from a buffer that it may overwrite: strings are unescaped and values
// compacted in place, which never needs more room than they have. It knows the line and
// column that it is at, so that an error says where, and refuses text that is not UTF-8.
type scanner struct {
	b         []byte
	pos       int
	line      int  // from 1
	lineStart int  // position of the line's first byte
	oneLine   bool // a line's end ends the value
	probe     bool // only whether the text is JSON matters, not where it is not
	depth     int
	spaces    int // runs of white space that were skipped
}

// errNotJSON is every fault that a probing scanner finds.
var errNotJSON = errors.New("not JSON")

func newScanner(b []byte) scanner { return scanner{b: b, line: 1} }

// syntaxError is a fault in JSON text.
type syntaxError struct {
	pos, line, column int // column counts bytes from 1
	message           string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.line, e.column, e.message)
}

// coded is a reader's error with a code: a fault in the text becomes INVALID_JSON, with the place as
// fields; other errors have their code.
func coded(err error) error {
	if err == nil {
		return nil // before e, which is allocated
	}
	var e *syntaxError
	if !errors.As(err, &e) {
		return err
	}
	return errcode.New(errcode.InvalidJSON, "%w", e).
		With("position", e.pos).With("line", e.line).With("column", e.column)
}

// clip shortens what a client sent before it is repeated in an error.
func clip(v []byte) []byte {
	const most = 128
	if len(v) > most {
		return append(v[:most:most], "..."...)
	}
	return v
}

// Check demands that body is exactly one JSON value; it leaves it as it is. The error is an
// *errcode.Error.
func Check(body []byte) error {
	s := newScanner(body)
	if err := s.skip(); err != nil {
		return coded(err)
	}
	return coded(s.end())
}

// Fault is the error of what is at a position of body: JSON, but not the JSON that is wanted.
func Fault(body []byte, pos int, format string, args ...any) error {
	e := place(body, pos)
	e.message = fmt.Sprintf(format, args...)
	return coded(e)
}

// place finds line and column of a byte.
func place(body []byte, pos int) *syntaxError {
	pos = max(0, min(pos, len(body)))
	lineStart := bytes.LastIndexByte(body[:pos], '\n') + 1
	return &syntaxError{pos: pos, line: bytes.Count(body[:pos], []byte{'\n'}) + 1, column: pos - lineStart + 1}
}

// errorAt makes a fault at a position on the current line.
func (s *scanner) errorAt(pos int, format string, args ...any) error {
	if s.probe {
		return errNotJSON
	}
	return &syntaxError{pos: pos, line: s.line, column: pos - s.lineStart + 1, message: fmt.Sprintf(format, args...)}
}

// unexpected is the fault of the text at the current position.
func (s *scanner) unexpected(want string) error {
	switch {
	case s.probe:
		return errNotJSON
	case s.pos >= len(s.b):
		return s.errorAt(s.pos, "the text ends where %s should be", want)
	case s.oneLine && s.b[s.pos] == '\n':
		return s.errorAt(s.pos, "the line ends where %s should be; every record must be on one line", want)
	}
	r, _ := utf8.DecodeRune(s.b[s.pos:])
	return s.errorAt(s.pos, "found %q where %s should be", r, want)
}

// blanks skips white space; a line's end too unless values must be on one line.
func (s *scanner) blanks() {
	if s.pos < len(s.b) && s.b[s.pos] <= ' ' {
		s.skipBlanks()
	}
}

func (s *scanner) skipBlanks() {
	s.spaces++
	for s.pos < len(s.b) {
		switch s.b[s.pos] {
		case ' ', '\t', '\r':
			s.pos++
		case '\n':
			if s.oneLine {
				return
			}
			s.newLine()
		default:
			return
		}
	}
}

func (s *scanner) newLine() {
	s.pos++
	s.line++
	s.lineStart = s.pos
}

// peek is the next byte after white space, 0 at the end.
func (s *scanner) peek() byte {
	s.blanks()
	if s.pos >= len(s.b) {
		return 0
	}
	return s.b[s.pos]
}

// take steps over c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.peek() == c && s.pos < len(s.b) {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) expect(c byte, want string) error {
	if !s.take(c) {
		return s.unexpected(want)
	}
	return nil
}

// end demands that nothing but white space is left.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.b) {
		return s.unexpected("the end of the text")
	}
	return nil
}

// object calls member for every member of the object that comes next, at its value. The name is
// valid until member returns.
func (s *scanner) object(what string, member func(name []byte, at int) error) error {
	if err := s.expect('{', what); err != nil {
		return err
	}
	if s.take('}') {
		return nil
	}
	for {
		s.blanks()
		at := s.pos
		if s.peek() != '"' {
			return s.unexpected("a member's name in double quotes")
		}
		name, err := s.text()
		if err != nil {
			return err
		}
		if err := s.expect(':', "a colon"); err != nil {
			return err
		}
		s.blanks()
		if err := member(name, at); err != nil {
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

// array calls element for every element of the array that comes next.
func (s *scanner) array(what string, element func() error) error {
	if err := s.expect('[', what); err != nil {
		return err
	}
	if s.take(']') {
		return nil
	}
	for {
		s.blanks()
		if err := element(); err != nil {
			return err
		}
		if s.take(']') {
			return nil
		}
		if err := s.expect(',', "a comma or ]"); err != nil {
			return err
		}
	}
}

// null steps over null if it comes next.
func (s *scanner) null() bool {
	s.blanks()
	if bytes.HasPrefix(s.b[s.pos:], []byte("null")) {
		s.pos += len("null")
		return true
	}
	return false
}
