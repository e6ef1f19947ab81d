package api

import "encoding/json"

// Record is a record in JSON. Key and Value hold any JSON: a string stands for its bytes, anything else
// for its compact text. Bytes that are not UTF-8 go into KeyB64 and ValueB64. Headers is an object
// {"name":"value"} or a list [{"key","value"|"value_b64"}].
type Record struct {
	Key       json.RawMessage `json:"key,omitempty"`
	KeyB64    []byte          `json:"key_b64,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	ValueB64  []byte          `json:"value_b64,omitempty"`
	Headers   json.RawMessage `json:"headers,omitempty"`
	Timestamp json.RawMessage `json:"timestamp,omitempty"` // RFC 3339 or milliseconds; none: now
	Partition *int32          `json:"partition,omitempty"` // none: by key
}

// Records is the body of POST /v1/topics/{topic}/records.
type Records struct {
	Records []Record `json:"records"`
}

// ProduceResult is what became of every record of a produce request. Indexes count the request's
// records from 0 in the order in which they were sent.
type ProduceResult struct {
	Topic      string              `json:"topic"`
	Partitions []ProducedPartition `json:"partitions"`
	Dropped    []int               `json:"dropped,omitempty"`
	Rejected   []RejectedRecord    `json:"rejected,omitempty"`
	Routed     []RoutedRecord      `json:"routed,omitempty"`
}

// Count is how many records were written to the topic itself.
func (r *ProduceResult) Count() int {
	n := 0
	for _, p := range r.Partitions {
		n += p.Count
	}
	return n
}

// Err is the first partition's error, nil when every partition took its records.
func (r *ProduceResult) Err() error {
	for _, p := range r.Partitions {
		if p.Error != nil {
			return p.Error
		}
	}
	return nil
}

// ProducedPartition is the outcome in one partition. Offsets of kept records are BaseOffset plus their
// place among the records that were sent to this partition, dropped ones included.
type ProducedPartition struct {
	Partition  int32  `json:"partition"`
	BaseOffset int64  `json:"base_offset"` // -1: nothing was written here
	Count      int    `json:"count"`       // records written
	Duplicate  bool   `json:"duplicate,omitempty"`
	Error      *Error `json:"error,omitempty"`
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

// FetchRequest is the body of POST /v1/fetch.
type FetchRequest struct {
	Partitions []FetchFrom `json:"partitions"`
	MinBytes   int         `json:"min_bytes,omitempty"` // answer as soon as this many bytes of records are there
	WaitMS     int64       `json:"wait_ms,omitempty"`   // and at the latest after this long
}

// FetchFrom asks for the records of one partition from an offset on.
type FetchFrom struct {
	Topic     string `json:"topic"` // or a view
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	MaxBytes  int    `json:"max_bytes,omitempty"`
}

// FetchHead is the header of POST /v1/fetch's binary answer; the partitions' batches follow it, in its
// order.
type FetchHead struct {
	Partitions []FetchedHead `json:"partitions"`
}

// FetchedHead is one partition's part of the header.
type FetchedHead struct {
	Topic          string `json:"topic"`
	Partition      int32  `json:"partition"`
	Error          *Error `json:"error,omitempty"`
	HighWatermark  int64  `json:"high_watermark"` // exclusive
	LogStartOffset int64  `json:"log_start_offset"`
	NextOffset     int64  `json:"next_offset"` // scanned to: ask for this one next
	Length         int    `json:"length"`      // bytes of its batches
}
