package api

import "time"

// TopicSpec creates a topic: the body of POST /v1/topics. Zero partitions and replication leave the
// choice to the broker.
type TopicSpec struct {
	Name        string            `json:"name"`
	Partitions  int32             `json:"partitions,omitempty"`
	Replication int16             `json:"replication,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
}

// TopicChange alters a topic: the body of PATCH /v1/topics/{topic}. A nil config value resets the key,
// Partitions may only grow; 0 leaves them as they are.
type TopicChange struct {
	Partitions int32              `json:"partitions,omitempty"`
	Config     map[string]*string `json:"config,omitempty"`
}

// Topic describes a topic and the state of its partitions. A list of topics leaves State out.
type Topic struct {
	ID              uint64            `json:"id"` // never reused, unlike the name
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

// PartitionState is the state of one partition.
type PartitionState struct {
	Partition      int32  `json:"partition"`
	Leader         string `json:"leader"` // id of the broker
	LogStartOffset int64  `json:"log_start_offset"`
	HighWatermark  int64  `json:"high_watermark"` // exclusive
	SizeBytes      int64  `json:"size_bytes"`
	Error          string `json:"error,omitempty"` // why it takes no writes
}

// TopicList answers GET /v1/topics.
type TopicList struct {
	Topics []Topic `json:"topics"`
}
