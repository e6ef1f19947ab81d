package abi

import (
	"fmt"
	"slices"
)

// Place is where a pipeline runs.
type Place uint8

// The places of a pipeline.
const (
	PlaceWrite      Place = iota // before the append, on the partition leader
	PlaceView                    // at the fetch
	PlaceDerivation              // after commit, into other topics
)

// String is the place as requests and golden vectors write it.
func (p Place) String() string {
	switch p {
	case PlaceWrite:
		return "write"
	case PlaceView:
		return "view"
	case PlaceDerivation:
		return "derivation"
	}
	return "unknown"
}

// OnError is what becomes of a record that a stage fails on.
type OnError string

// The policies of a stage. They are stored and sent by these names.
const (
	OnErrorReject     OnError = "reject"      // the producer learns which record and why
	OnErrorSkip       OnError = "skip"        // the record passes the stage unchanged
	OnErrorDrop       OnError = "drop"        // the record is left out
	OnErrorDeadLetter OnError = "dead_letter" // the record goes to the dead-letter topic; so do records that the module rejects
)

// policies are the on_error values that are possible in a place; the first is the default. A read and a
// derivation have no producer to inform, and their source keeps the record, so they leave it out rather
// than let it pass untransformed: the transform may be what hides a secret. A view cannot write.
var policies = [...][]OnError{
	PlaceWrite:      {OnErrorReject, OnErrorSkip, OnErrorDrop, OnErrorDeadLetter},
	PlaceView:       {OnErrorDrop, OnErrorSkip},
	PlaceDerivation: {OnErrorDrop, OnErrorSkip, OnErrorDeadLetter},
}

// Policy checks a stage's on_error and dead-letter topic for a place, and fills in the default for an
// empty on_error. It does not look at the topic's name, nor whether the topic exists.
func (p Place) Policy(onError OnError, deadLetterTopic string) (OnError, error) {
	if int(p) >= len(policies) {
		return "", fmt.Errorf("there is no place %d where stages run", p)
	}
	if onError == "" {
		onError = policies[p][0]
	}
	if !slices.Contains(policies[p], onError) {
		return "", fmt.Errorf("on_error %q is not possible in a %s pipeline; possible are %q", clip(string(onError)), p, policies[p])
	}
	switch {
	case onError != OnErrorDeadLetter && deadLetterTopic != "":
		return "", fmt.Errorf("it has a dead_letter_topic, but on_error is %s, not dead_letter", onError)
	case onError != OnErrorDeadLetter:
		return onError, nil
	case deadLetterTopic == "":
		return "", fmt.Errorf("on_error is dead_letter, but no dead_letter_topic is named")
	}
	return onError, nil
}

// clip keeps a hostile text from filling an error.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
