// Package olddata keeps a data directory that an earlier version of the broker wrote, and says what
// every later version must find in it. The directory is packed into testdata by the program in make.
package olddata

import (
	"encoding/json"
	"fmt"
	"os"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

// Expectation is what a broker must find in the data directory.
type Expectation struct {
	MadeBy    string     `json:"made_by"` // version of the broker that wrote the directory
	State     State      `json:"state"`
	Producers []Producer `json:"producers"`
	Filters   []Filter   `json:"filters"`
}

// State is everything that clients see of a broker at rest: nothing is produced and every derivation
// has caught up.
type State struct {
	ClusterID   string              `json:"cluster_id"`
	Topics      []Topic             `json:"topics"`
	Pipelines   []client.Pipeline   `json:"pipelines"`
	Views       []View              `json:"views"`
	Derivations []client.Derivation `json:"derivations"`
	Modules     []client.Module     `json:"modules"` // every version
}

// Topic is a topic's definition and the contents of its partitions.
type Topic struct {
	ID              uint64            `json:"id"`
	Name            string            `json:"name"`
	Replication     int16             `json:"replication"`
	Config          map[string]string `json:"config"`
	CreatedAt       string            `json:"created_at"`
	PipelineVersion uint64            `json:"pipeline_version"`
	Partitions      []Log             `json:"partitions"`
}

// View is a view's definition and what is seen through it.
type View struct {
	client.View
	Partitions []Log `json:"partitions"`
}

// Log is the contents of one partition.
type Log struct {
	LogStartOffset int64  `json:"log_start_offset"`
	HighWatermark  int64  `json:"high_watermark"` // exclusive
	Records        int    `json:"records"`
	SHA256         string `json:"sha256"`                   // of offset, timestamp, key, value and headers of every record
	BatchesSHA256  string `json:"batches_sha256,omitempty"` // of the batches as they are; not of derivations' outputs and views
}

// Producer is an idempotent producer that still has its last acknowledged batch.
type Producer struct {
	Topic        string `json:"topic"`
	Partition    int32  `json:"partition"`
	ID           int64  `json:"id"`
	Epoch        int16  `json:"epoch"`
	NextSequence int32  `json:"next_sequence"` // -1: unknown, as a request had no answer
	Batch        []byte `json:"batch"`
	BaseOffset   int64  `json:"base_offset"` // the answer when it was written
}

// Filter is a derivation that drops the records of its source whose value begins with 'd' and writes the
// others into the partition of the same number.
type Filter struct {
	Derivation string  `json:"derivation"`
	Source     string  `json:"source"`
	Output     string  `json:"output"`
	From       []int64 `json:"from"` // per partition: the offset of the source at which it began
}

// Load reads an expectation.
func Load(name string) (Expectation, error) {
	var e Expectation
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if err != nil {
		return e, fmt.Errorf("expectation of a data directory: %w", err)
	}
	return e, nil
}

// Save writes an expectation.
func (e Expectation) Save(name string) error {
	text, err := json.MarshalIndent(e, "", "  ")
	if err == nil {
		err = os.WriteFile(name, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("expectation of a data directory: %w", err)
	}
	return nil
}
