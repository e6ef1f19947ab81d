package abi

import "cmp"

// The limits of modules and stages that every part of the broker keeps to.
const (
	// PageSize is the unit of a module's memory in bytes, and the least that a stage may have.
	PageSize = 64 << 10
	// MaxMemoryBytes is the most memory of an instance: bit 63 of a result would be needed for an
	// address beyond it. A broker may allow less (engine.Options).
	MaxMemoryBytes = 1 << 31
	// AddressableBytes is all that a 32-bit module can address: the most that a stage may name as its memory.
	// What is more than the broker allows is refused when the stage is compiled.
	AddressableBytes = 4 << 30
	// DefaultMemoryBytes is the memory limit of a stage that asks for none.
	DefaultMemoryBytes = 64 << 20
	// MaxStages is the most stages of a pipeline, a view, a derivation or a fetch.
	MaxStages = 16
	// MaxConfigBytes is the most bytes of a stage's configuration as the module gets it: without
	// insignificant white space.
	MaxConfigBytes = 64 << 10
	// MaxWrittenConfigBytes is the most bytes of a stage's configuration as it is written, white space included.
	MaxWrittenConfigBytes = 256 << 10
)

// Limits bound one answer. A field that is zero or less takes its value of DefaultLimits.
type Limits struct {
	MaxActionsPerRecord int
	MaxRecordBytes      int // key, value and headers of one new record
	MaxHeaders          int // of one new record
	MaxOutputBytes      int // all emitted and routed records of one call
}

// DefaultLimits are the limits of a broker without configuration.
func DefaultLimits() Limits {
	return Limits{MaxActionsPerRecord: 16, MaxRecordBytes: 8 << 20, MaxHeaders: 1024, MaxOutputBytes: 32 << 20}
}

// WithDefaults fills the fields that are not set.
func (l Limits) WithDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		MaxActionsPerRecord: cmp.Or(max(l.MaxActionsPerRecord, 0), d.MaxActionsPerRecord),
		MaxRecordBytes:      cmp.Or(max(l.MaxRecordBytes, 0), d.MaxRecordBytes),
		MaxHeaders:          cmp.Or(max(l.MaxHeaders, 0), d.MaxHeaders),
		MaxOutputBytes:      cmp.Or(max(l.MaxOutputBytes, 0), d.MaxOutputBytes),
	}
}
