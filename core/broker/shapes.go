package broker

import (
	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/wasm/abi"
)

// This file is the only place where the structs of the metadata, which are stored, become the shapes of
// the API, which are answered. What both sides hold of slices and maps is shared: neither changes it.

func topicShape(m *metadata.Topic) api.Topic {
	return api.Topic{
		ID: uint64(m.ID), Name: m.Name, Partitions: m.Partitions, Replication: m.Replication,
		Config: m.Config, CreatedAt: m.CreatedAt,
	}
}

func moduleShape(m *metadata.Module) *api.Module {
	if m == nil {
		return nil
	}
	return &api.Module{
		Name: m.Name, Version: m.Version, SHA256: m.SHA256, Size: m.Size, ABI: m.ABI, Fields: m.Fields,
		CreatedAt: m.CreatedAt,
	}
}

func pipelineShape(m *metadata.Pipeline) *api.Pipeline {
	if m == nil {
		return nil
	}
	return &api.Pipeline{Topic: m.Topic, Version: m.Version, Stages: stageShapes(m.Stages), UpdatedAt: m.UpdatedAt}
}

func viewShape(m *metadata.View) *api.View {
	if m == nil {
		return nil
	}
	return &api.View{
		Name: m.Name, Topic: m.Topic, Version: m.Version, Stages: stageShapes(m.Stages), UpdatedAt: m.UpdatedAt,
	}
}

// derivationShape leaves the progress to the caller.
func derivationShape(m *metadata.Derivation) api.Derivation {
	return api.Derivation{
		ID: m.ID, Name: m.Name, Topic: m.Topic, Output: m.Output, StartFrom: m.StartFrom, Version: m.Version,
		Stages: stageShapes(m.Stages), UpdatedAt: m.UpdatedAt,
	}
}

func stageShapes(stages []metadata.Stage) []api.Stage {
	return convert(stages, func(s metadata.Stage) api.Stage {
		return api.Stage{
			Module: s.Module, Version: s.Version, Config: s.Config, OnError: api.OnError(s.OnError),
			DeadLetterTopic: s.DeadLetterTopic, Limits: api.StageLimits{MemoryBytes: s.Limits.MemoryBytes},
		}
	})
}

// storedStages is the way back: stages as a request names them, for a command.
func storedStages(stages []api.Stage) []metadata.Stage {
	return convert(stages, func(s api.Stage) metadata.Stage {
		return metadata.Stage{
			Module: s.Module, Version: s.Version, Config: s.Config, OnError: abi.OnError(s.OnError),
			DeadLetterTopic: s.DeadLetterTopic, Limits: metadata.StageLimits{MemoryBytes: s.Limits.MemoryBytes},
		}
	})
}

// convert maps every element; a nil list stays nil, as JSON tells the two apart.
func convert[From, To any](list []From, one func(From) To) []To {
	if list == nil {
		return nil
	}
	out := make([]To, len(list))
	for i, v := range list {
		out[i] = one(v)
	}
	return out
}

// shapes converts a list of pointers into a list of values that is never nil.
func shapes[From, To any](list []*From, one func(*From) *To) []To {
	out := make([]To, 0, len(list))
	for _, v := range list {
		out = append(out, *one(v))
	}
	return out
}
