package metadata

import (
	"encoding/json"
	"time"

	"github.com/wasmill/wasmill/wasm/abi"
)

// TopicID identifies a topic. A name may be used again after a deletion, an id never is.
type TopicID uint64

// Topic is a named, partitioned log.
type Topic struct {
	ID          TopicID           `json:"id"`
	Name        string            `json:"name"`
	Partitions  int32             `json:"partitions"`
	Replication int16             `json:"replication"`
	Config      map[string]string `json:"config"` // only what was set; defaults are TopicConfig's
	CreatedAt   time.Time         `json:"created_at"`
}

// Module is one version of an uploaded WebAssembly module. The bytes lie outside the metadata, under
// their hash.
type Module struct {
	Name      string    `json:"name"`
	Version   int       `json:"version"` // 1, 2, 3 ... per name, never reused
	SHA256    string    `json:"sha256"`  // lower-case hex of the module's bytes
	Size      int64     `json:"size"`    // bytes
	ABI       string    `json:"abi"`     // for example "wasmill-v1"
	Fields    []string  `json:"fields"`  // what the module reads: key, value, headers, timestamp
	CreatedAt time.Time `json:"created_at"`
}

// StageLimits bound one stage. Zero means the broker's default.
type StageLimits struct {
	MemoryBytes int64 `json:"memory_bytes,omitempty"` // linear memory of one instance
}

// Stage is one step of a pipeline: a module with its configuration.
type Stage struct {
	Module          string          `json:"module"`            // a name, or name@version when a user writes it
	Version         int             `json:"version,omitempty"` // 0 when a user writes it: the newest
	Config          json.RawMessage `json:"config,omitempty"`
	OnError         abi.OnError     `json:"on_error,omitempty"`
	DeadLetterTopic string          `json:"dead_letter_topic,omitempty"`
	Limits          StageLimits     `json:"limits,omitzero"`
}

// Pipeline is a topic's write pipeline. Version counts each change of this topic's pipeline.
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

// Derivation continuously runs a topic's records through a pipeline into other topics.
type Derivation struct {
	ID        uint64    `json:"id"` // never reused; output partitions remember progress under it
	Name      string    `json:"name"`
	Topic     string    `json:"topic"`      // source
	Output    string    `json:"output"`     // where records go that no action routes elsewhere
	StartFrom string    `json:"start_from"` // "earliest" or "latest", decided when created
	Version   uint64    `json:"version"`
	Stages    []Stage   `json:"stages"`
	UpdatedAt time.Time `json:"updated_at"`
}
