package client

import "github.com/wasmill/wasmill/core/api"

// The shapes of the HTTP API under the client's own name; core/api describes them.
type (
	TopicSpec      = api.TopicSpec
	TopicChange    = api.TopicChange
	Topic          = api.Topic
	PartitionState = api.PartitionState

	JSONRecord        = api.Record
	ProduceResult     = api.ProduceResult
	ProducedPartition = api.ProducedPartition
	RejectedRecord    = api.RejectedRecord
	RoutedRecord      = api.RoutedRecord
	FetchFrom         = api.FetchFrom
	ProducerID        = api.ProducerID

	Module        = api.Module
	DryRun        = api.DryRun
	DryRunResult  = api.DryRunResult
	DryRunVerdict = api.DryRunVerdict
	DryRunOutput  = api.DryRunOutput

	OnError            = api.OnError
	Stage              = api.Stage
	StageLimits        = api.StageLimits
	Pipeline           = api.Pipeline
	View               = api.View
	DerivationSpec     = api.DerivationSpec
	Derivation         = api.Derivation
	DerivationProgress = api.DerivationProgress

	Cluster = api.Cluster
	Broker  = api.Broker

	// Error is a refusal or failure that the broker reported.
	Error = api.Error
)

// The policies of a stage.
const (
	OnErrorReject     = api.OnErrorReject
	OnErrorSkip       = api.OnErrorSkip
	OnErrorDrop       = api.OnErrorDrop
	OnErrorDeadLetter = api.OnErrorDeadLetter
)
