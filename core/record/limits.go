package record

import "cmp"

// Limits bound what a batch may hold. A field that is zero or less takes its value of DefaultLimits.
type Limits struct {
	MaxBatchBytes        int // whole batch as it stands, compressed or not
	MaxRecordBytes       int // one record as encoded, its length prefix not counted
	MaxDecompressedBytes int // all records of a batch once decompressed
	MaxRecords           int // records in a batch
	MaxHeaders           int // headers of one record
	MaxBatchHeaders      int // headers of all records of a batch
}

// DefaultLimits are the limits of a broker without configuration.
func DefaultLimits() Limits {
	return Limits{
		MaxBatchBytes:        8 << 20,
		MaxRecordBytes:       8 << 20,
		MaxDecompressedBytes: 64 << 20,
		MaxRecords:           1 << 18,
		MaxHeaders:           1 << 10,
		MaxBatchHeaders:      1 << 20,
	}
}

// withDefaults fills the fields that are not set.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		MaxBatchBytes:        cmp.Or(max(l.MaxBatchBytes, 0), d.MaxBatchBytes),
		MaxRecordBytes:       cmp.Or(max(l.MaxRecordBytes, 0), d.MaxRecordBytes),
		MaxDecompressedBytes: cmp.Or(max(l.MaxDecompressedBytes, 0), d.MaxDecompressedBytes),
		MaxRecords:           cmp.Or(max(l.MaxRecords, 0), d.MaxRecords),
		MaxHeaders:           cmp.Or(max(l.MaxHeaders, 0), d.MaxHeaders),
		MaxBatchHeaders:      cmp.Or(max(l.MaxBatchHeaders, 0), d.MaxBatchHeaders),
	}
}
