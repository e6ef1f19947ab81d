package client

import "strconv"

// Condition says what must hold for a PUT or DELETE of a pipeline, a view or a derivation to be carried
// out; otherwise the call fails with errcode.VersionConflict.
type Condition struct {
	header, value string
}

// IfVersion demands that the version in force is this one, as the last Get or Put returned it.
func IfVersion(version uint64) Condition {
	return Condition{"If-Match", `"` + strconv.FormatUint(version, 10) + `"`}
}

// IfAbsent demands that there is nothing of the name yet.
func IfAbsent() Condition { return Condition{"If-None-Match", "*"} }

// under puts conditions on the call. It is not repeated then: the repetition would meet the version that
// the first attempt made.
func (r call) under(conditions []Condition) call {
	for _, c := range conditions {
		r.header = append(r.header, [2]string{c.header, c.value})
		r.repeatable = false
	}
	return r
}
