// Package abi is the contract between the broker and transforms, in the one place where it is defined: the
// encoding of input and output as sdk/spec/abi-v1.md describes it, the functions that modules export and
// import, the places where pipelines run, the policies of stages, and the limits and names that all parts
// of the broker check.
//
// It runs no WebAssembly: everything here is a function of its arguments, so that every rule can be tested
// and fuzzed without a module. The answer of a module is not trusted: each number is checked before it is
// used, and an answer that breaks one rule is refused as a whole.
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
