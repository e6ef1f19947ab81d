package wasmilltest

import (
	"fmt"
	"strings"
	"testing"
)

// Result is what a transform decided about one batch.
type Result struct {
	Actions []Action
	t       testing.TB
	topic   string
	records int
}

// Verdict says what became of record i.
func (r *Result) Verdict(i int) Verdict {
	r.t.Helper()
	if i < 0 || i >= r.records {
		r.t.Fatalf("verdict of record %d: the batch has %d records", i, r.records)
	}
	verdict := Dropped
	for _, a := range r.Actions {
		if a.Index != i {
			continue
		}
		switch {
		case a.Kind == Keep:
			return Kept
		case a.Kind == Reject:
			return Rejected
		case a.Kind == Emit && a.Topic == r.topic:
			verdict = Changed
		case verdict == Dropped:
			verdict = Routed
		}
	}
	return verdict
}

// Verdicts are the verdicts of all records.
func (r *Result) Verdicts() []Verdict {
	verdicts := make([]Verdict, r.records)
	for i := range verdicts {
		verdicts[i] = r.Verdict(i)
	}
	return verdicts
}

// To returns the records that go to a topic; the topic being processed is "test" unless an
// option says otherwise.
func (r *Result) To(topic string) []Record {
	var records []Record
	for _, a := range r.Actions {
		if a.Kind != Reject && a.Topic == topic {
			records = append(records, a.Record)
		}
	}
	return records
}

// Own returns the records that stay in the topic being processed.
func (r *Result) Own() []Record { return r.To(r.topic) }

// Rejection returns the code and message with which record i was rejected.
func (r *Result) Rejection(i int) (code uint16, message string, ok bool) {
	for _, a := range r.Actions {
		if a.Index == i && a.Kind == Reject {
			return a.Code, a.Message, true
		}
	}
	return 0, "", false
}

// String shows the actions, one per line, for messages of failed tests.
func (r *Result) String() string {
	var s strings.Builder
	for _, a := range r.Actions {
		kind := [...]string{Keep: "keep", Route: "route", Emit: "emit", Reject: "reject"}[a.Kind]
		fmt.Fprintf(&s, "%d %s", a.Index, kind)
		if a.Kind == Reject {
			fmt.Fprintf(&s, " %d %q\n", a.Code, a.Message)
			continue
		}
		fmt.Fprintf(&s, " to %s key=%q value=%q\n", a.Topic, a.Record.Key, a.Record.Value)
	}
	return s.String()
}
