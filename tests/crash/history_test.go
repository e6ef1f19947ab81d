package crash

import (
	"strings"
	"testing"
)

// sample is a small history and a state that fits it.
func sample() (*History, State) {
	h := NewHistory()
	h.Ordered(1)
	kept, routed, copied, dropped := Value{'k', 1, 1}, Value{'x', 1, 2}, Value{'c', 1, 3}, Value{'d', 1, 4}
	plain, more, unheard := Value{'p', 2, 1}, Value{'p', 2, 2}, Value{'k', 1, 5}
	h.Try([]Value{kept, routed, copied, dropped, plain, more, unheard})
	for _, v := range []Value{kept, routed, copied, dropped, plain, more} {
		h.Acknowledge(v)
	}
	h.Told(kept, Place{In, 0}, 0)
	h.Told(copied, Place{In, 0}, 2)
	h.Told(copied, Place{Other, 1}, 1)
	h.Told(plain, Place{Plain, 0}, 0)
	return h, State{
		{In, 0}:      {Batches: [][2]int64{{0, 4}}, Records: []Entry{{0, kept.String()}, {2, copied.String()}}},
		{Other, 1}:   {Batches: [][2]int64{{0, 1}, {1, 2}}, Records: []Entry{{0, routed.String()}, {1, copied.String()}}},
		{Plain, 0}:   {Batches: [][2]int64{{0, 2}}, Records: []Entry{{0, plain.String()}, {1, more.String()}}},
		{Derived, 0}: {Batches: [][2]int64{{0, 2}}, Records: []Entry{{0, plain.String()}, {1, more.String()}}},
	}
}

func TestSoundStateHasNoFaults(t *testing.T) {
	t.Parallel()
	h, s := sample()
	if f := h.Faults(s); len(f) != 0 {
		t.Errorf("faults %q", f)
	}
	// What was sent and not answered may be there as well.
	in := s[Place{In, 0}]
	in.Batches, in.Records = append(in.Batches, [2]int64{4, 5}), append(in.Records, Entry{4, Value{'k', 1, 5}.String()})
	s[Place{In, 0}] = in
	if f := h.Faults(s); len(f) != 0 {
		t.Errorf("with an unanswered record: faults %q", f)
	}
}

// Every kind of loss and damage that the crash tests look for is found when it is there.
func TestCheckerFindsFaults(t *testing.T) {
	t.Parallel()
	in, other, plain, derived := Place{In, 0}, Place{Other, 1}, Place{Plain, 0}, Place{Derived, 0}
	for name, tc := range map[string]struct {
		tamper func(State)
		says   string
	}{
		"lost record":     {change(in, func(l *Log) { l.Records = l.Records[1:] }), "was acknowledged and is not in in"},
		"lost partition":  {func(s State) { delete(s, in) }, "was acknowledged and is not in in"},
		"lost route":      {change(other, func(l *Log) { l.Records = l.Records[1:] }), "is not in other"},
		"moved record":    {change(in, func(l *Log) { l.Records[0].Offset = 1 }), "acknowledged at in/0 offset 0 and is at in/0 offset 1"},
		"other partition": {func(s State) { s[Place{In, 1}] = s[in]; delete(s, in) }, "acknowledged at in/0"},
		"duplicate": {change(other, func(l *Log) {
			l.Batches = append(l.Batches, [2]int64{2, 3})
			l.Records = append(l.Records, Entry{2, l.Records[1].Value})
		}), "is twice in other"},
		"duplicate elsewhere": {func(s State) { s[Place{Other, 0}] = Log{[][2]int64{{0, 1}}, []Entry{{0, s[other].Records[0].Value}}} }, "is twice in other"},
		"order":               {change(in, func(l *Log) { r := l.Records; r[0].Value, r[1].Value = r[1].Value, r[0].Value }), "of the same sender"},
		"gap":                 {change(other, func(l *Log) { l.Batches[1] = [2]int64{2, 3} }), "where 1 comes next"},
		"start missing":       {change(other, func(l *Log) { l.Batches = l.Batches[1:] }), "where 0 comes next"},
		"overlap":             {change(other, func(l *Log) { l.Batches[1][0] = 0 }), "where 1 comes next"},
		"record past the end": {change(in, func(l *Log) { l.Records[1].Offset = 9 }), "the end is 4"},
		"invented record":     {change(in, func(l *Log) { l.Records[0].Value = "k 9/00000001" }), "was never sent"},
		"garbage":             {change(in, func(l *Log) { l.Records[0].Value = "k 1/1" }), "was never sent"},
		"wrong topic":         {change(in, func(l *Log) { l.Records[0].Value = Value{'x', 1, 2}.String() }), "does not belong here"},
		"dropped, yet there":  {change(in, func(l *Log) { l.Records[0].Value = Value{'d', 1, 4}.String() }), "does not belong here"},
		"derived lost":        {change(derived, func(l *Log) { l.Records = l.Records[:1] }), "derived/0: record 1 is \"nothing\""},
		"derived twice":       {change(derived, func(l *Log) { l.Records[1] = Entry{1, l.Records[0].Value} }), "derived/0: record 1"},
		"derived too early":   {change(plain, func(l *Log) { l.Records = l.Records[:1] }), "its source says \"nothing\""},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := sample()
			tc.tamper(s)
			if f := strings.Join(h.Faults(s), "; "); !strings.Contains(f, tc.says) {
				t.Errorf("the checker says %q", f)
			}
		})
	}
}

func change(p Place, f func(*Log)) func(State) {
	return func(s State) {
		l := s[p]
		f(&l)
		s[p] = l
	}
}
