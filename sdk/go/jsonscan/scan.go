// Package jsonscan finds parts of a JSON text without decoding it. It is made for
// transforms: it is small, reflects on nothing and allocates nothing in steady state.
//
// What it accepts and what it finds agrees with encoding/json: the whole text is checked,
// the last of several equal keys counts, escapes in keys are understood, and nesting ends
// at 10,000 levels.
package jsonscan

import "strconv"

// maxDepth is encoding/json's own bound.
const maxDepth = 10000

// SyntaxError says that a text is not JSON, and where it stops being so.
type SyntaxError struct {
	Offset int // bytes from the start of the text
}

func (e *SyntaxError) Error() string {
	return "not valid JSON at byte " + strconv.Itoa(e.Offset)
}

// Span is a part of a text: text[Start:End].
type Span struct{ Start, End int }

// Kind is the type of a JSON value.
type Kind byte

// The kinds of values.
const (
	Invalid Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// KindOf tells the type of a value from its first byte. raw is valid JSON without
// surrounding space, as Find returns it; Invalid is the kind of an empty one.
func KindOf(raw []byte) Kind {
	if len(raw) == 0 {
		return Invalid
	}
	switch raw[0] {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	default:
		return Number
	}
}

// scanner checks JSON from b[i] on. Its methods report false where b is not JSON, with i at
// the offending byte.
type scanner struct {
	b     []byte
	i     int
	stack []byte // the containers that are open: '{' or '['
	depth int    // containers open around what is being scanned, outside stack
}

func (s *scanner) err() error { return &SyntaxError{Offset: s.i} }

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 at the end; 0 is no token of JSON.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

// end demands that nothing but space is left.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// value skips one value, however deep, and shows every string in it, with its quotes, to
// visit, which may be nil.
func (s *scanner) value(visit func(at Span, key bool)) bool {
	s.stack = s.stack[:0]
	for {
		opened, ok := s.element(visit)
		if !ok {
			return false
		}
		if opened {
			continue
		}
		if more, ok := s.after(visit); !more || !ok {
			return ok
		}
	}
}

// element reads a scalar or an empty container, or opens a container and stops before its
// first value.
func (s *scanner) element(visit func(at Span, key bool)) (opened, ok bool) {
	s.space()
	switch c := s.peek(); c {
	case '{', '[':
		if len(s.stack)+s.depth >= maxDepth {
			return false, false
		}
		s.i++
		s.space()
		if s.accept(c + 2) { // '}' is '{'+2 and ']' is '['+2
			return false, true
		}
		s.stack = append(s.stack, c)
		return true, c == '[' || s.key(visit)
	case '"':
		return false, s.text(visit, false)
	default:
		return false, s.scalar()
	}
}

// after reads what follows a value: the ends of containers, then a comma and, in an object,
// the next key. more is false when the outermost value is complete.
func (s *scanner) after(visit func(at Span, key bool)) (more, ok bool) {
	for len(s.stack) > 0 {
		s.space()
		open := s.stack[len(s.stack)-1]
		if s.accept(',') {
			if open == '[' {
				return true, true
			}
			return true, s.key(visit)
		}
		if !s.accept(open + 2) {
			return false, false
		}
		s.stack = s.stack[:len(s.stack)-1]
	}
	return false, true
}

// key reads a key and its colon.
func (s *scanner) key(visit func(at Span, key bool)) bool {
	s.space()
	if s.peek() != '"' || !s.text(visit, true) {
		return false
	}
	s.space()
	return s.accept(':')
}

func (s *scanner) text(visit func(at Span, key bool), key bool) bool {
	start := s.i
	if !s.str() {
		return false
	}
	if visit != nil {
		visit(Span{start, s.i}, key)
	}
	return true
}

// str skips a string; s.i is at its opening quote.
func (s *scanner) str() bool {
	b := s.b
	for i := plain(b, s.i+1); i < len(b); i = plain(b, i) {
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return true
		case c < ' ':
			s.i = i
			return false
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				s.i = i
				return false
			}
			i += n
		default:
			i++
		}
	}
	s.i = len(b)
	return false
}

// plain skips bytes that mean themselves in a string, eight at a time: where it stops, one
// of the next eight may be a quote, a backslash or a control character. Strings are most of
// most documents, so this is where a search spends its time.
func plain(b []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for ; i+8 <= len(b); i += 8 {
		w := word(b, i)
		quote, escape := w^(ones*'"'), w^(ones*'\\')
		// (x - ones) &^ x has the high bit of some byte set when a byte of x is zero, and
		// (w - ones*n) &^ w when a byte of w is below n.
		if ((quote-ones)&^quote|(escape-ones)&^escape|(w-ones*' ')&^w)&highs != 0 {
			break
		}
	}
	return i
}

// escapeLen is the length of the escape that b starts with, 0 when it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if hex4(b[2:]) >= 0 {
			return 6
		}
	}
	return 0
}

// hex4 reads four hexadecimal digits, or returns -1.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var v rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		v = v<<4 | rune(c)
	}
	return v
}

func (s *scanner) scalar() bool {
	switch s.peek() {
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

func (s *scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

func (s *scanner) number() bool {
	s.accept('-')
	if !s.accept('0') && !s.digits() {
		return false
	}
	if s.accept('.') && !s.digits() {
		return false
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if !s.accept('+') {
			s.accept('-')
		}
		return s.digits()
	}
	return true
}

// digits reads one digit or more.
func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		s.i++
	}
	return s.i > start
}
