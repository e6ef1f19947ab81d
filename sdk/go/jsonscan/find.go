package jsonscan

import "strings"

// Path leads through nested objects to a field. It owns the buffers of its searches and is
// not safe for concurrent use.
type Path struct {
	keys    []string
	scan    scanner
	spans   []Span
	every   bool
	scratch []byte
}

// NewPath reads a path such as "name" or "address.city": keys of nested objects, separated
// by dots. A dot or backslash that belongs to a key has a backslash before it.
func NewPath(path string) *Path {
	p := &Path{}
	var key strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '.':
			p.keys = append(p.keys, key.String())
			key.Reset()
		case c == '\\' && i+1 < len(path):
			i++
			key.WriteByte(path[i])
		default:
			key.WriteByte(c)
		}
	}
	p.keys = append(p.keys, key.String())
	return p
}

// Find returns the value at the path in the JSON text doc, as it stands there: nil when
// there is none, a *SyntaxError when doc is not JSON. Of several equal keys the last counts.
// The value is a part of doc.
func (p *Path) Find(doc []byte) ([]byte, error) {
	spans, err := p.search(doc, false)
	if err != nil || len(spans) == 0 {
		return nil, err
	}
	at := spans[len(spans)-1]
	return doc[at.Start:at.End:at.End], nil
}

// All returns every value at the path, where Find returns the one that counts. The spans
// are in order and valid until the next search.
func (p *Path) All(doc []byte) ([]Span, error) { return p.search(doc, true) }

func (p *Path) search(doc []byte, every bool) ([]Span, error) {
	p.scan.b, p.scan.i, p.scan.depth = doc, 0, 0
	p.spans, p.every = p.spans[:0], every
	if !p.in(p.keys) || !p.scan.end() {
		return nil, p.scan.err()
	}
	return p.spans, nil
}

// in scans one value and notes what keys lead to in it.
func (p *Path) in(keys []string) bool {
	s := &p.scan
	s.space()
	if len(keys) == 0 {
		start := s.i
		if !s.value(nil) {
			return false
		}
		p.spans = append(p.spans, Span{start, s.i})
		return true
	}
	if s.peek() != '{' {
		return s.value(nil)
	}
	s.i++
	s.depth++
	defer func() { s.depth-- }()
	if s.depth > maxDepth {
		return false
	}
	s.space()
	if s.accept('}') {
		return true
	}
	for {
		if !p.member(keys) {
			return false
		}
		s.space()
		if !s.accept(',') {
			return s.accept('}')
		}
	}
}

// member scans one key and its value.
func (p *Path) member(keys []string) bool {
	s := &p.scan
	s.space()
	start := s.i
	if !s.key(nil) {
		return false
	}
	// The key ends at the first quote after its start that no backslash escapes; scanning
	// back from the colon finds it without a second pass.
	end := s.i - 2
	for s.b[end] != '"' {
		end--
	}
	if !p.equal(s.b[start:end+1], keys[0]) {
		return s.value(nil)
	}
	if !p.every {
		p.spans = p.spans[:0]
	}
	return p.in(keys[1:])
}

// equal compares a key in quotes with a plain one.
func (p *Path) equal(quoted []byte, key string) bool {
	raw := quoted[1 : len(quoted)-1]
	for _, c := range raw {
		if c == '\\' || c >= 0x80 {
			p.scratch = AppendUnquoted(p.scratch[:0], quoted)
			return string(p.scratch) == key
		}
	}
	return string(raw) == key
}

// Strings calls visit for every string in the JSON text doc, keys included, with its place,
// quotes included. It returns a *SyntaxError when doc is not JSON; visit may have been
// called by then.
func Strings(doc []byte, visit func(at Span, key bool)) error {
	s := scanner{b: doc}
	if !s.value(visit) || !s.end() {
		return s.err()
	}
	return nil
}

// Valid reports whether doc is one JSON text.
func Valid(doc []byte) bool { return Strings(doc, nil) == nil }

// Members calls visit for every member of an object: its key, decoded, and its value as it
// stands in the text. A text that is not a JSON object is a *SyntaxError. Both are valid
// during the call alone. An error of visit ends the walk and is returned.
func Members(object []byte, visit func(key string, value []byte) error) error {
	s := scanner{b: object}
	s.space()
	if !s.accept('{') {
		return s.err()
	}
	s.space()
	if s.accept('}') {
		if !s.end() {
			return s.err()
		}
		return nil
	}
	for {
		if err := s.member(visit); err != nil {
			return err
		}
		s.space()
		if s.accept(',') {
			continue
		}
		if !s.accept('}') || !s.end() {
			return s.err()
		}
		return nil
	}
}

func (s *scanner) member(visit func(key string, value []byte) error) error {
	var key []byte
	ok := s.key(func(at Span, _ bool) { key = AppendUnquoted(nil, s.b[at.Start:at.End]) })
	if !ok {
		return s.err()
	}
	s.space()
	start := s.i
	if !s.value(nil) {
		return s.err()
	}
	return visit(string(key), s.b[start:s.i:s.i])
}

// Elements calls visit for every element of an array, as Members does for an object.
func Elements(array []byte, visit func(value []byte) error) error {
	s := scanner{b: array}
	s.space()
	if !s.accept('[') {
		return s.err()
	}
	s.space()
	if s.accept(']') {
		if !s.end() {
			return s.err()
		}
		return nil
	}
	for {
		s.space()
		start := s.i
		if !s.value(nil) {
			return s.err()
		}
		if err := visit(s.b[start:s.i:s.i]); err != nil {
			return err
		}
		s.space()
		if s.accept(',') {
			continue
		}
		if !s.accept(']') || !s.end() {
			return s.err()
		}
		return nil
	}
}
