package api

import "time"

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
	HTTP       string    `json:"http"` // address of its HTTP API
	Version    string    `json:"version"`
	StartedAt  time.Time `json:"started_at"`
	Partitions int       `json:"partitions"`
}

// BrokerList answers GET /v1/brokers.
type BrokerList struct {
	Brokers []Broker `json:"brokers"`
}

// ProducerID names an idempotent producer: the broker drops a batch that it has seen under the same id,
// epoch and sequence. It answers POST /v1/producers.
type ProducerID struct {
	ID    int64 `json:"producer_id"`
	Epoch int16 `json:"producer_epoch"`
}

// Status answers GET /healthz ("ok") and GET /readyz ("ready").
type Status struct {
	Status string `json:"status"`
}
