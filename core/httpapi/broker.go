package httpapi

import (
	"context"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/metadata"
)

// Broker is what the server needs of a broker. Every error is an *errcode.Error or wraps one. All
// methods are safe for concurrent use.
type Broker interface {
	Records
	Topics
	Modules
	Transforms

	Cluster(ctx context.Context) (*broker.ClusterInfo, error)
	Brokers(ctx context.Context) ([]broker.BrokerInfo, error)
	// Ready is nil when the broker takes requests, else it says what is missing.
	Ready() error
}

// Records is the data path.
type Records interface {
	// ProduceBatches appends the batches in body, which it may patch in place until it returns.
	// Partition broker.AnyPartition splits by key.
	ProduceBatches(ctx context.Context, topic string, partition int32, body []byte) (*broker.ProduceResult, error)
	// ProduceRecords appends records; their bytes must stay untouched until it returns.
	ProduceRecords(ctx context.Context, topic string, recs []broker.ProducedRecord) (*broker.ProduceResult, error)
	// Fetch reads; the answer is the caller's to release. A cancelled context ends its wait.
	Fetch(ctx context.Context, req broker.FetchRequest) (*broker.FetchResponse, error)
	ResolveOffset(ctx context.Context, topic string, partition int32, at broker.OffsetSpec) (int64, error)
	AllocateProducerID(ctx context.Context) (int64, error)
}

// Topics is topic administration.
type Topics interface {
	CreateTopic(ctx context.Context, spec broker.TopicSpec) (*broker.TopicInfo, error)
	Topics(ctx context.Context) ([]broker.TopicInfo, error)
	Topic(ctx context.Context, name string) (*broker.TopicInfo, error)
	AlterTopic(ctx context.Context, name string, change broker.TopicChange) (*broker.TopicInfo, error)
	DeleteTopic(ctx context.Context, name string) error
}

// Modules is module administration. Version 0 is the newest, or all of them for DeleteModule.
type Modules interface {
	PutModule(ctx context.Context, name string, wasm []byte) (*metadata.Module, error)
	Modules(ctx context.Context) ([]metadata.Module, error)
	Module(ctx context.Context, name string, version int) (*metadata.Module, error)
	ModuleVersions(ctx context.Context, name string) ([]metadata.Module, error)
	ModuleBytes(ctx context.Context, name string, version int) ([]byte, error)
	DeleteModule(ctx context.Context, name string, version int) error
	DryRun(ctx context.Context, name string, version int, req broker.DryRunRequest) (*broker.DryRunResult, error)
}

// Transforms is the administration of write pipelines, views and derivations.
type Transforms interface {
	SetPipeline(ctx context.Context, topic string, stages []metadata.Stage) (*metadata.Pipeline, error)
	Pipeline(ctx context.Context, topic string) (*metadata.Pipeline, error)
	DeletePipeline(ctx context.Context, topic string) error

	PutView(ctx context.Context, name, topic string, stages []metadata.Stage) (*metadata.View, error)
	Views(ctx context.Context) ([]metadata.View, error)
	View(ctx context.Context, name string) (*metadata.View, error)
	DeleteView(ctx context.Context, name string) error

	PutDerivation(ctx context.Context, d metadata.Derivation) (*broker.DerivationInfo, error)
	Derivations(ctx context.Context) ([]broker.DerivationInfo, error)
	Derivation(ctx context.Context, name string) (*broker.DerivationInfo, error)
	DeleteDerivation(ctx context.Context, name string) error
}
