// Package broker puts the parts together: it owns the local partitions, runs write pipelines before
// the append and views at the read, routes records between topics and keeps derivations going.
// Servers (HTTP, later Kafka) call it and translate; they hold no logic of their own.
package broker

import (
	"encoding/json"
	"time"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
)

// InputRecord is a record that arrives on its own rather than inside a record batch.
type InputRecord struct {
	record.Record
	Partition int32 // AnyPartition: by key, or in turn when the key is null
}

// AnyPartition leaves the choice of the partition to the broker.
const AnyPartition = abi.ByKey

// ProduceResult is what became of every record of a produce request. Index counts the request's
// records from 0 in the order in which they were sent.
type ProduceResult struct {
	Topic      string
	Partitions []ProducedPartition
	Dropped    []int
	Rejected   []RejectedRecord
	Routed     []RoutedRecord
}

// ProducedPartition is the outcome in one partition. Offsets of kept records are BaseOffset plus
// their place among the records that were sent to this partition, dropped ones included.
type ProducedPartition struct {
	Partition  int32
	BaseOffset int64 // -1: nothing was written here
	Count      int   // records written
	Duplicate  bool
	Error      *errcode.Error
}

// RejectedRecord is a record that a transform refused.
type RejectedRecord struct {
	Index   int
	Code    int // the module's own number; 0 when the broker refused it
	Message string
	Module  string // name@version of the stage
}

// RoutedRecord is a record that was written to another topic.
type RoutedRecord struct {
	Index     int
	Topic     string
	Partition int32
	Offset    int64
}

// FetchPartition asks for records of one partition of a topic or a view.
type FetchPartition struct {
	Topic     string
	Partition int32
	Offset    int64
	MaxBytes  int         // at least one batch is returned even if it is larger
	Stages    []api.Stage // an ad-hoc read pipeline; empty for none
}

// FetchRequest asks for records of any number of partitions.
type FetchRequest struct {
	Partitions []FetchPartition
	MinBytes   int           // answer as soon as this many bytes of records are there
	Wait       time.Duration // and at the latest after this long
}

// FetchedPartition is one partition's part of an answer. Batches belong to the response until
// FetchResponse.Release.
type FetchedPartition struct {
	Topic          string
	Partition      int32
	Batches        []byte // whole record batches, back to back; the first may begin before the offset asked for
	HighWatermark  int64  // exclusive
	LogStartOffset int64
	NextOffset     int64 // scanned to: ask for this one next
	Err            *errcode.Error
}

// FetchResponse answers a FetchRequest in the request's order.
type FetchResponse struct {
	Partitions []FetchedPartition
	Held       int64 // bytes of admission.Controller.Answers that are held until Release
	release    func()
}

// NewFetchResponse makes an answer whose release is called once, when the buffers that Batches point
// to are not needed any more; it may be nil. It is for brokers other than this package's.
func NewFetchResponse(partitions []FetchedPartition, release func()) *FetchResponse {
	return &FetchResponse{Partitions: partitions, release: release}
}

// Release gives the buffers back; Batches must not be used afterwards. Safe to call more than once.
func (r *FetchResponse) Release() {
	if r.release != nil {
		r.release()
		r.release = nil
	}
}

// OffsetSpec names a place in a partition: exactly one of the constants, or a time.
type OffsetSpec struct {
	At   OffsetAt
	Time time.Time // with OffsetAtTime: the first record at or after it
}

// OffsetAt says how an OffsetSpec is meant.
type OffsetAt uint8

// The places that can be named without knowing an offset.
const (
	OffsetEarliest OffsetAt = iota // log start offset
	OffsetLatest                   // high watermark
	OffsetAtTime
)

// DryRunRequest runs a module on given records and changes nothing.
type DryRunRequest struct {
	Topic     string // as the module sees it; may not exist
	Partition int32
	Place     string // "write" (default) or "view"
	Config    json.RawMessage
	OnError   api.OnError
	Records   []record.Record
}

// DryRunResult is what would have happened.
type DryRunResult struct {
	Module   string // name@version
	Verdicts []DryRunVerdict
	Elapsed  time.Duration
}

// DryRunVerdict is what became of one record. Outputs are the records that it would become.
type DryRunVerdict struct {
	Index   int
	Verdict string // kept, changed, dropped, rejected, routed
	Code    int
	Message string
	Outputs []DryRunOutput
}

// DryRunOutput is a record that would be written.
type DryRunOutput struct {
	Topic     string
	Partition int32 // -1: by key
	record.Record
}
