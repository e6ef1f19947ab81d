package client

import (
	"encoding/json"
	"time"
)

// TopicSpec creates a topic. Zero partitions and replication leave the choice to the broker.
type TopicSpec struct {
	Name        string            `json:"name"`
	Partitions  int32             `json:"partitions,omitempty"`
	Replication int16             `json:"replication,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
}

// TopicChange alters a topic: a nil config value resets the key, Partitions may only grow.
type TopicChange struct {
	Partitions int32              `json:"partitions,omitempty"`
	Config     map[string]*string `json:"config,omitempty"`
}

// Topic describes a topic and where its partitions stand.
type Topic struct {
	ID              uint64            `json:"id"`
	Name            string            `json:"name"`
	Partitions      int32             `json:"partitions"`
	Replication     int16             `json:"replication"`
	Config          map[string]string `json:"config"` // only what was set
	CreatedAt       time.Time         `json:"created_at"`
	Effective       map[string]string `json:"effective_config"` // with the defaults
	State           []PartitionState  `json:"partition_state,omitempty"`
	PipelineVersion uint64            `json:"pipeline_version,omitempty"` // of the write pipeline, or of a view's; 0: none
	ViewOf          string            `json:"view_of,omitempty"`          // the topic behind the name, when it is a view's
}

// PartitionState is where one partition stands.
type PartitionState struct {
	Partition      int32  `json:"partition"`
	Leader         string `json:"leader"`
	LogStartOffset int64  `json:"log_start_offset"`
	HighWatermark  int64  `json:"high_watermark"` // exclusive
	SizeBytes      int64  `json:"size_bytes"`
	Error          string `json:"error,omitempty"` // why it does not take writes
}

// ProduceResult tells what became of every record of a produce request. Indexes count the request's
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

// ProducedPartition is the outcome in one partition.
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

// Module is one version of an uploaded WebAssembly module.
type Module struct {
	Name      string    `json:"name"`
	Version   int       `json:"version"`
	SHA256    string    `json:"sha256"` // lower-case hex
	Size      int64     `json:"size"`   // bytes
	ABI       string    `json:"abi"`
	Fields    []string  `json:"fields"` // what it reads: key, value, headers, timestamp
	CreatedAt time.Time `json:"created_at"`
}

// Stage is one step of a pipeline: a module with its configuration.
type Stage struct {
	Module          string          `json:"module"` // a name, or name@version
	Version         int             `json:"version,omitempty"`
	Config          json.RawMessage `json:"config,omitempty"`
	OnError         string          `json:"on_error,omitempty"` // reject, skip, drop, dead_letter
	DeadLetterTopic string          `json:"dead_letter_topic,omitempty"`
	Limits          StageLimits     `json:"limits,omitzero"`
}

// StageLimits bound one stage. Zero means the broker's default.
type StageLimits struct {
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
}

// Pipeline is a topic's write pipeline.
type Pipeline struct {
	Topic     string    `json:"topic"`
	Version   uint64    `json:"version"`
	Stages    []Stage   `json:"stages"`
	UpdatedAt time.Time `json:"updated_at"`
}

// View is a read-only topic name: a topic seen through a read pipeline.
type View struct {
	Name      string    `json:"name"`
	Topic     string    `json:"topic"`
	Version   uint64    `json:"version"`
	Stages    []Stage   `json:"stages"`
	UpdatedAt time.Time `json:"updated_at"`
}

// DerivationSpec makes or replaces a derivation.
type DerivationSpec struct {
	Topic     string  `json:"topic"`                // source
	Output    string  `json:"output"`               // where records go that no stage routes elsewhere
	StartFrom string  `json:"start_from,omitempty"` // "earliest" or "latest"
	Stages    []Stage `json:"stages"`
}

// Derivation continuously runs a topic's records through a pipeline into other topics.
type Derivation struct {
	ID        uint64               `json:"id"`
	Name      string               `json:"name"`
	Topic     string               `json:"topic"`
	Output    string               `json:"output"`
	StartFrom string               `json:"start_from"`
	Version   uint64               `json:"version"`
	Stages    []Stage              `json:"stages"`
	UpdatedAt time.Time            `json:"updated_at"`
	Progress  []DerivationProgress `json:"progress"`
}

// DerivationProgress is one source partition's.
type DerivationProgress struct {
	Partition  int32  `json:"partition"`
	NextOffset int64  `json:"next_offset"` // the source offset that comes next
	Lag        int64  `json:"lag"`         // records behind the source's high watermark
	Error      string `json:"error,omitempty"`
}

// Cluster describes the cluster as the asked broker sees it.
type Cluster struct {
	ClusterID string   `json:"cluster_id"`
	Version   string   `json:"version"`
	Leader    string   `json:"metadata_leader"`
	Brokers   []Broker `json:"brokers"`
	Topics    int      `json:"topics"`
	Views     int      `json:"views"`
	Modules   int      `json:"modules"`
}

// Broker describes one broker.
type Broker struct {
	ID         string    `json:"id"`
	HTTP       string    `json:"http"`
	Version    string    `json:"version"`
	StartedAt  time.Time `json:"started_at"`
	Partitions int       `json:"partitions"`
}
