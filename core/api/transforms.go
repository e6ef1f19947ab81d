package api

import (
	"encoding/json"
	"time"
)

// OnError is what becomes of a record that a stage fails on.
type OnError string

// The policies of a stage.
const (
	OnErrorReject     OnError = "reject"      // the producer learns which record and why (write pipelines only)
	OnErrorSkip       OnError = "skip"        // pass the record on unchanged
	OnErrorDrop       OnError = "drop"        // leave the record out
	OnErrorDeadLetter OnError = "dead_letter" // send it to DeadLetterTopic with headers that say why
)

// StageLimits bound one stage. Zero means the broker's default.
type StageLimits struct {
	MemoryBytes int64 `json:"memory_bytes,omitempty"` // linear memory of one instance
}

// Stage is one step of a pipeline: a module with its configuration.
type Stage struct {
	Module          string          `json:"module"`            // a name, or name@version in a request
	Version         int             `json:"version,omitempty"` // 0 in a request: the newest
	Config          json.RawMessage `json:"config,omitempty"`
	OnError         OnError         `json:"on_error,omitempty"`
	DeadLetterTopic string          `json:"dead_letter_topic,omitempty"`
	Limits          StageLimits     `json:"limits,omitzero"`
}

// MaxStages is the most stages that a pipeline, a view, a derivation or a fetch may have.
const MaxStages = 16

// PipelineSpec is the body of PUT /v1/topics/{topic}/pipeline.
type PipelineSpec struct {
	Stages []Stage `json:"stages"`
}

// Pipeline is a topic's write pipeline. Version counts each change of this topic's pipeline.
type Pipeline struct {
	Topic     string    `json:"topic"`
	Version   uint64    `json:"version"`
	Stages    []Stage   `json:"stages"`
	UpdatedAt time.Time `json:"updated_at"`
}

// ViewSpec is the body of PUT /v1/views/{view}.
type ViewSpec struct {
	Topic  string  `json:"topic"`
	Stages []Stage `json:"stages"`
}

// View is a read-only topic name: a topic seen through a read pipeline.
type View struct {
	Name      string    `json:"name"`
	Topic     string    `json:"topic"`
	Version   uint64    `json:"version"`
	Stages    []Stage   `json:"stages"`
	UpdatedAt time.Time `json:"updated_at"`
}

// ViewList answers GET /v1/views.
type ViewList struct {
	Views []View `json:"views"`
}

// Where a new derivation begins.
const (
	StartEarliest = "earliest"
	StartLatest   = "latest"
)

// DerivationSpec is the body of PUT /v1/derivations/{derivation}.
type DerivationSpec struct {
	Topic     string  `json:"topic"`                // source
	Output    string  `json:"output"`               // where records go that no stage routes elsewhere
	StartFrom string  `json:"start_from,omitempty"` // StartEarliest (default) or StartLatest
	Stages    []Stage `json:"stages"`
}

// Derivation continuously runs a topic's records through a pipeline into other topics.
type Derivation struct {
	ID        uint64               `json:"id"` // never reused, unlike the name
	Name      string               `json:"name"`
	Topic     string               `json:"topic"`
	Output    string               `json:"output"`
	StartFrom string               `json:"start_from"`
	Version   uint64               `json:"version"`
	Stages    []Stage              `json:"stages"`
	UpdatedAt time.Time            `json:"updated_at"`
	Progress  []DerivationProgress `json:"progress"`
}

// DerivationProgress is one source partition's. Partition is -1 for an error of the whole derivation.
type DerivationProgress struct {
	Partition  int32  `json:"partition"`
	NextOffset int64  `json:"next_offset"` // the source offset that comes next
	Lag        int64  `json:"lag"`         // records behind the source's high watermark
	Error      string `json:"error,omitempty"`
}

// DerivationList answers GET /v1/derivations.
type DerivationList struct {
	Derivations []Derivation `json:"derivations"`
}
