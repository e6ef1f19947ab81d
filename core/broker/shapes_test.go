package broker

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/wasm/abi"
)

// TestShapesAreWhole converts structs whose every field is set: no field of a shape stays zero but those
// that do not come from the metadata.
func TestShapesAreWhole(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	stages := []metadata.Stage{{
		Module: "m", Version: 2, Config: json.RawMessage(`{}`), OnError: abi.OnErrorDeadLetter,
		DeadLetterTopic: "dead", Limits: metadata.StageLimits{MemoryBytes: 1 << 20},
	}}
	for _, c := range []struct {
		shape   any
		foreign []string
	}{
		{topicShape(&metadata.Topic{
			ID: 1, Name: "t", Partitions: 2, Replication: 3, Config: map[string]string{"a": "b"}, CreatedAt: at,
		}), []string{"Effective", "State", "PipelineVersion", "ViewOf"}},
		{*moduleShape(&metadata.Module{
			Name: "m", Version: 1, SHA256: "aa", Size: 2, ABI: "v1", Fields: []string{"key"}, CreatedAt: at,
		}), nil},
		{*pipelineShape(&metadata.Pipeline{Topic: "t", Version: 1, Stages: stages, UpdatedAt: at}), nil},
		{*viewShape(&metadata.View{Name: "v", Topic: "t", Version: 1, Stages: stages, UpdatedAt: at}), nil},
		{derivationShape(&metadata.Derivation{
			ID: 1, Name: "d", Topic: "t", Output: "o", StartFrom: "latest", Version: 1, Stages: stages, UpdatedAt: at,
		}), []string{"Progress"}},
		{stageShapes(stages)[0], nil},
	} {
		v := reflect.ValueOf(c.shape)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Field(i).IsZero() && !slices.Contains(c.foreign, name) {
				t.Errorf("%T: %s is not converted", c.shape, name)
			}
		}
	}
	if back := storedStages(stageShapes(stages)); !reflect.DeepEqual(back, stages) {
		t.Errorf("stages come back as %+v", back)
	}
	if stageShapes(nil) != nil || storedStages(nil) != nil {
		t.Error("no stages must stay nil")
	}
	if api.MaxStages != abi.MaxStages {
		t.Errorf("the API allows %d stages, the pipelines %d", api.MaxStages, abi.MaxStages)
	}
}
