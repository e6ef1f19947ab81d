// Package crash kills brokers while they work and checks what is left: every acknowledged record at the
// offset that was told, no record twice, every partition without a gap, and what is derived from a topic
// complete and once. History is the checker; the tests drive real processes against it.
package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Place is a partition of a topic.
type Place struct {
	Topic     string
	Partition int32
}

func (p Place) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Partition) }

// Log is what a reader found in a partition.
type Log struct {
	Batches [][2]int64 // base offset and the offset after the last, in order
	Records []Entry
}

// Entry is a record at its place.
type Entry struct {
	Offset int64
	Value  string
}

// State is what a reader found in all partitions.
type State map[Place]Log

// Value names a record: what becomes of it, who sent it, and which one of its sender's it is.
type Value struct {
	Fate   byte // see Topics
	Sender int
	Number int
}

func (v Value) String() string { return fmt.Sprintf("%c %d/%08d", v.Fate, v.Sender, v.Number) }

// parse is the inverse of String.
func parse(text string) (v Value, err error) {
	_, err = fmt.Sscanf(text, "%c %d/%d", &v.Fate, &v.Sender, &v.Number)
	if err == nil && v.String() != text {
		err = fmt.Errorf("%q is not a value", text)
	}
	return v, err
}

// The topics of the workload: "in" has a write pipeline that obeys each value's first byte; "plain" has
// none, and is the source of "derived".
const (
	In      = "in"
	Other   = "other"
	Plain   = "plain"
	Derived = "derived"
)

// Topics is where a value of each fate goes.
func (v Value) Topics() []string {
	switch v.Fate {
	case 'k':
		return []string{In}
	case 'x':
		return []string{Other}
	case 'c':
		return []string{In, Other}
	case 'p':
		return []string{Plain, Derived}
	}
	return nil // dropped
}

// acknowledgement is where a value was said to be; offset -1 when the topic alone is known.
type acknowledgement struct {
	place  Place
	offset int64
}

// History is what producers sent and were answered. It is safe for concurrent use.
type History struct {
	mu      sync.Mutex
	ordered map[int]bool // senders
	tried   map[Value]bool
	acked   map[Value][]acknowledgement
}

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{ordered: map[int]bool{}, tried: map[Value]bool{}, acked: map[Value][]acknowledgement{}}
}

// Ordered notes that a sender's values must be in the order in which it sent them: that of an idempotent
// producer does. Of one that gave up waiting for an answer, the request may still be carried out later.
func (h *History) Ordered(sender int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ordered[sender] = true
}

// Try notes values that are about to be sent: from now on they may be there, once.
func (h *History) Try(values []Value) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range values {
		h.tried[v] = true
	}
}

// Acknowledge notes that the broker took a value: from now on it must be in all of its topics.
func (h *History) Acknowledge(v Value) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked[v] = append([]acknowledgement{}, h.acked[v]...)
}

// Told notes the place and the offset that the broker named for a value that it took.
func (h *History) Told(v Value, place Place, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked[v] = append(h.acked[v], acknowledgement{place, offset})
}

// Size is how many values were tried and acknowledged.
func (h *History) Size() (tried, acked int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.tried), len(h.acked)
}

// maxFaults bounds a report; one fault usually brings many.
const maxFaults = 20

// report collects faults.
type report struct {
	faults []string
}

func (r *report) add(format string, args ...any) {
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, fmt.Sprintf(format, args...))
	}
}

// Faults lists what is wrong with a state, given what producers sent and were answered. Derivations must have
// caught up.
func (h *History) Faults(s State) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &report{}
	found := map[Value]map[string]acknowledgement{} // by topic
	for _, place := range slices.SortedFunc(maps.Keys(s), func(a, b Place) int { return strings.Compare(a.String(), b.String()) }) {
		s[place].contiguous(place, r)
		h.readPlace(place, s[place].Records, found, r)
	}
	for v, places := range h.acked {
		for _, topic := range v.Topics() {
			if _, ok := found[v][topic]; !ok {
				r.add("%v was acknowledged and is not in %s", v, topic)
			}
		}
		for _, a := range places {
			if at, ok := found[v][a.place.Topic]; ok && (at.place != a.place || a.offset >= 0 && at.offset != a.offset) {
				r.add("%v was acknowledged at %v offset %d and is at %v offset %d", v, a.place, a.offset, at.place, at.offset)
			}
		}
	}
	s.derivedFaults(r)
	return r.faults
}

// contiguous finds gaps and overlaps between batches, and records outside of theirs.
func (l Log) contiguous(place Place, r *report) {
	next := int64(0)
	for _, b := range l.Batches {
		if b[0] != next || b[1] <= b[0] {
			r.add("%v: a batch of offsets %d to %d where %d comes next", place, b[0], b[1]-1, next)
		}
		next = b[1]
	}
	last := int64(-1)
	for _, e := range l.Records {
		if e.Offset <= last || e.Offset >= next {
			r.add("%v: record at offset %d after %d, the end is %d", place, e.Offset, last, next)
		}
		last = e.Offset
	}
}

// readPlace goes through the records of a partition.
func (h *History) readPlace(place Place, records []Entry, found map[Value]map[string]acknowledgement, r *report) {
	newest := map[int]int{} // sender -> number
	for _, e := range records {
		v, err := parse(e.Value)
		if err != nil || !h.tried[v] {
			r.add("%v offset %d: %q was never sent", place, e.Offset, e.Value)
			continue
		}
		if !slices.Contains(v.Topics(), place.Topic) {
			r.add("%v offset %d: %v does not belong here", place, e.Offset, v)
		}
		if found[v] == nil {
			found[v] = map[string]acknowledgement{}
		}
		if at, twice := found[v][place.Topic]; twice {
			r.add("%v is twice in %s: at %v offset %d and %v offset %d", v, place.Topic, at.place, at.offset, place, e.Offset)
		}
		found[v][place.Topic] = acknowledgement{place, e.Offset}
		if n, ok := newest[v.Sender]; ok && v.Number <= n && h.ordered[v.Sender] {
			r.add("%v offset %d: %v after number %d of the same sender", place, e.Offset, v, n)
		}
		newest[v.Sender] = v.Number
	}
}

// derivedFaults compares each partition of the derived topic with its source's: the same values, in the
// same order.
func (s State) derivedFaults(r *report) {
	for place, source := range s {
		if place.Topic != Plain {
			continue
		}
		output := s[Place{Derived, place.Partition}]
		for i := range max(len(source.Records), len(output.Records)) {
			want, got := "nothing", "nothing"
			if i < len(source.Records) {
				want = source.Records[i].Value
			}
			if i < len(output.Records) {
				got = output.Records[i].Value
			}
			if got != want {
				r.add("%s/%d: record %d is %q, its source says %q", Derived, place.Partition, i, got, want)
				break
			}
		}
	}
}
