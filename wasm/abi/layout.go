// Package abi encodes what the broker hands to a transform and decodes what the transform answers, as
// sdk/spec/abi-v1.md lays it down. It runs no WebAssembly: everything here is a function of byte slices,
// so that every rule can be tested and fuzzed without a module.
//
// Nothing in this package trusts the answer: each number is checked before it is used, and an answer that
// breaks one rule is refused as a whole.
package abi

import (
	"math"
	"strings"
)

// The names that a module exports and imports. The version of the ABI is part of ExportProcess.
const (
	ExportMemory     = "memory"
	ExportAlloc      = "wasmill_alloc"
	ExportProcess    = "wasmill_process_v1"
	ExportInit       = "wasmill_init_v1"
	ExportFields     = "wasmill_fields_v1"
	ExportInitialize = "_initialize"
	ImportModule     = "wasmill_v1"
	Name             = "wasmill-v1" // what users see as the module's ABI
)

const (
	inputHeaderSize  = 48
	descriptorSize   = 48
	outputHeaderSize = 16
	actionSize       = 64
	null             = math.MaxUint32 // a length: there is no such field
	failedBit        = 1 << 63
)

// Alignment of the input's address in bytes.
const Alignment = 8

// Mask is a set of record fields.
type Mask uint32

// The fields of a record that a module may ask for.
const (
	FieldKey Mask = 1 << iota
	FieldValue
	FieldHeaders
	FieldTimestamp
	AllFields = FieldKey | FieldValue | FieldHeaders | FieldTimestamp
)

// Names lists the fields in the order of their bits.
func (m Mask) Names() []string {
	names := make([]string, 0, 4)
	for i, name := range [...]string{"key", "value", "headers", "timestamp"} {
		if m&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

func (m Mask) String() string { return strings.Join(m.Names(), "+") }

// Place is where a pipeline runs.
type Place uint8

// The places of a pipeline.
const (
	PlaceWrite      Place = iota // before the append, on the partition leader
	PlaceView                    // at the fetch
	PlaceDerivation              // after commit, into other topics
)

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

// Kind is what an action does with its record.
type Kind uint8

// The kinds of action.
const (
	Keep   Kind = 1
	Route  Kind = 2
	Emit   Kind = 3
	Reject Kind = 4
)

func (k Kind) String() string {
	switch k {
	case Keep:
		return "keep"
	case Route:
		return "route"
	case Emit:
		return "emit"
	case Reject:
		return "reject"
	}
	return "unknown"
}

const (
	flagPartition uint8 = 1 << iota
	flagTimestamp
	flagInheritKey
	flagInheritValue
	flagInheritHeaders

	emitFlags = flagPartition | flagTimestamp | flagInheritKey | flagInheritValue | flagInheritHeaders
)

// ValidTopic tells whether name may be a topic's name: 1 to 249 letters, digits, dots, underscores and
// hyphens, and not "." or "..".
func ValidTopic(name []byte) bool {
	if len(name) == 0 || len(name) > 249 {
		return false
	}
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return string(name) != "." && string(name) != ".."
}
