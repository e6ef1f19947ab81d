// Package broker puts the parts together: it owns the local partitions, runs write pipelines before
// the append and views at the read, routes records between topics and keeps derivations going.
// Servers (HTTP, later Kafka) call it and translate; they hold no logic of their own.
package broker

import (
	"encoding/json"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/record"
)

// ProducedRecord is a record that arrives on its own rather than inside a record batch.
type ProducedRecord struct {
	record.Record
	Partition int32 // AnyPartition: by key, or in turn when the key is null
}

// AnyPartition leaves the choice of the partition to the broker.
const AnyPartition int32 = -1

// ProduceResult tells what became of every record of a produce request. Index counts the request's
// records from 0 in the order in which they were sent.
type ProduceResult struct {
	Topic      string              `json:"topic"`
	Partitions []ProducedPartition `json:"partitions"`
	Dropped    []int               `json:"dropped,omitempty"`
	Rejected   []RejectedRecord    `json:"rejected,omitempty"`
	Routed     []RoutedRecord      `json:"routed,omitempty"`
}

// ProducedPartition is the outcome in one partition. Offsets of kept records are BaseOffset plus
// their place among the records that were sent to this partition, dropped ones included.
type ProducedPartition struct {
	Partition  int32          `json:"partition"`
	BaseOffset int64          `json:"base_offset"` // -1: nothing was written here
	Count      int            `json:"count"`       // records written
	Duplicate  bool           `json:"duplicate,omitempty"`
	Error      *errcode.Error `json:"error,omitempty"`
}

// RejectedRecord is a record that a transform refused.
type RejectedRecord struct {
	Index   int    `json:"index"`
	Code    int    `json:"code"` // the module's own number; 0 when the broker refused it
	Message string `json:"message"`
	Module  string `json:"module,omitempty"` // name@version of the stage
}

// RoutedRecord is a record that was written to another topic.
type RoutedRecord struct {
	Index     int    `json:"index"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// FetchPartition asks for records of one partition of a topic or a view.
type FetchPartition struct {
	Topic     string
	Partition int32
	Offset    int64
	MaxBytes  int              // at least one batch is returned even if it is larger
	Stages    []metadata.Stage // an ad-hoc read pipeline; empty for none
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

// TopicSpec creates a topic. Zero partitions and replication mean the broker's defaults (1, 1).
type TopicSpec struct {
	Name        string            `json:"name"`
	Partitions  int32             `json:"partitions,omitempty"`
	Replication int16             `json:"replication,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
}

// TopicChange alters a topic: a null config value resets the key, Partitions may only grow.
type TopicChange struct {
	Partitions int32              `json:"partitions,omitempty"`
	Config     map[string]*string `json:"config,omitempty"`
}

// TopicInfo describes a topic and where its partitions stand.
type TopicInfo struct {
	metadata.Topic
	Effective  map[string]string `json:"effective_config"`
	State      []PartitionInfo   `json:"partition_state,omitempty"`
	PipelineAt uint64            `json:"pipeline_version,omitempty"` // of the write pipeline, or of a view's; 0: none
	ViewOf     string            `json:"view_of,omitempty"`          // the topic behind it, when the name is a view's
}

// PartitionInfo is the state of one partition.
type PartitionInfo struct {
	Partition      int32  `json:"partition"`
	Leader         string `json:"leader"`
	LogStartOffset int64  `json:"log_start_offset"`
	HighWatermark  int64  `json:"high_watermark"`
	SizeBytes      int64  `json:"size_bytes"`
	Error          string `json:"error,omitempty"` // why it does not take writes
}

// DryRunRequest runs a module on given records and changes nothing.
type DryRunRequest struct {
	Topic     string // what the module is told; may not exist
	Partition int32
	Place     string // "write" (default) or "view"
	Config    json.RawMessage
	OnError   metadata.OnError
	Records   []record.Record
}

// DryRunResult is what would have happened.
type DryRunResult struct {
	Module   string          `json:"module"` // name@version
	Verdicts []DryRunVerdict `json:"verdicts"`
	Elapsed  time.Duration   `json:"elapsed_ns"`
}

// DryRunVerdict is one record's fate. Outputs are the records that it would become.
type DryRunVerdict struct {
	Index   int            `json:"index"`
	Verdict string         `json:"verdict"` // kept, changed, dropped, rejected, routed
	Code    int            `json:"code,omitempty"`
	Message string         `json:"message,omitempty"`
	Outputs []DryRunOutput `json:"outputs,omitempty"`
}

// DryRunOutput is a record that would be written.
type DryRunOutput struct {
	Topic         string `json:"topic"`
	Partition     int32  `json:"partition"` // -1: by key
	record.Record `json:"-"`
}

// DerivationInfo is a derivation and how far it has come.
type DerivationInfo struct {
	metadata.Derivation
	Progress []DerivationProgress `json:"progress"`
}

// DerivationProgress is one source partition's.
type DerivationProgress struct {
	Partition  int32  `json:"partition"`
	NextOffset int64  `json:"next_offset"` // source offset that comes next
	Lag        int64  `json:"lag"`         // records behind the source's high watermark
	Error      string `json:"error,omitempty"`
}

// ClusterInfo describes the cluster as this broker sees it.
type ClusterInfo struct {
	ClusterID string       `json:"cluster_id"`
	Version   string       `json:"version"`
	Leader    string       `json:"metadata_leader"`
	Brokers   []BrokerInfo `json:"brokers"`
	Topics    int          `json:"topics"`
	Views     int          `json:"views"`
	Modules   int          `json:"modules"`
}

// BrokerInfo describes one broker.
type BrokerInfo struct {
	ID         string    `json:"id"`
	HTTP       string    `json:"http"`
	Version    string    `json:"version"`
	StartedAt  time.Time `json:"started_at"`
	Partitions int       `json:"partitions"`
}
