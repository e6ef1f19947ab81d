package httpapi

import (
	"context"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
)

// Broker is what the server needs of a broker. Every error is an *errcode.Error or wraps one. All
// methods are safe for concurrent use.
type Broker interface {
	Records
	Topics
	Modules
	Transforms

	Cluster(ctx context.Context) (*api.Cluster, error)
	Brokers(ctx context.Context) ([]api.Broker, error)
	// Ready is nil when the broker takes requests, else it says what is missing.
	Ready() error
}

// Records is the data path.
type Records interface {
	// ProduceBatches appends the batches in body, which it may patch in place until it returns.
	// Partition broker.AnyPartition splits by key.
	ProduceBatches(ctx context.Context, topic string, partition int32, body []byte) (*broker.ProduceResult, error)
	// ProduceRecords appends records; their bytes must stay untouched until it returns.
	ProduceRecords(ctx context.Context, topic string, recs []broker.InputRecord) (*broker.ProduceResult, error)
	// Fetch reads; the answer is the caller's to release. A cancelled context ends its wait.
	Fetch(ctx context.Context, req broker.FetchRequest) (*broker.FetchResponse, error)
	ResolveOffset(ctx context.Context, topic string, partition int32, at broker.OffsetSpec) (int64, error)
	AllocateProducerID(ctx context.Context) (int64, error)
}

// Topics is topic administration.
type Topics interface {
	CreateTopic(ctx context.Context, spec api.TopicSpec) (*api.Topic, error)
	Topics(ctx context.Context) ([]api.Topic, error)
	Topic(ctx context.Context, name string) (*api.Topic, error)
	AlterTopic(ctx context.Context, name string, change api.TopicChange) (*api.Topic, error)
	DeleteTopic(ctx context.Context, name string) error
}

// Modules is module administration. Version 0 is the newest, or all of them for DeleteModule.
type Modules interface {
	// PutModule also says whether the bytes made a new version.
	PutModule(ctx context.Context, name string, wasm []byte) (m *api.Module, created bool, err error)
	Modules(ctx context.Context) ([]api.Module, error)
	Module(ctx context.Context, name string, version int) (*api.Module, error)
	ModuleVersions(ctx context.Context, name string) ([]api.Module, error)
	ModuleBytes(ctx context.Context, name string, version int) ([]byte, error)
	DeleteModule(ctx context.Context, name string, version int) error
	DryRun(ctx context.Context, name string, version int, req broker.DryRunRequest) (*broker.DryRunResult, error)
}

// Transforms is the administration of write pipelines, views and derivations. expected is the version
// that one must have for the call to be carried out, 0 for none yet; nil takes any. created is whether
// there was none.
type Transforms interface {
	SetPipeline(ctx context.Context, topic string, spec api.PipelineSpec, expected *uint64) (p *api.Pipeline, created bool, err error)
	Pipeline(ctx context.Context, topic string) (*api.Pipeline, error)
	DeletePipeline(ctx context.Context, topic string, expected *uint64) error

	PutView(ctx context.Context, name string, spec api.ViewSpec, expected *uint64) (v *api.View, created bool, err error)
	Views(ctx context.Context) ([]api.View, error)
	View(ctx context.Context, name string) (*api.View, error)
	DeleteView(ctx context.Context, name string, expected *uint64) error

	PutDerivation(ctx context.Context, name string, spec api.DerivationSpec, expected *uint64) (d *api.Derivation, created bool, err error)
	Derivations(ctx context.Context) ([]api.Derivation, error)
	Derivation(ctx context.Context, name string) (*api.Derivation, error)
	DeleteDerivation(ctx context.Context, name string, expected *uint64) error
}
