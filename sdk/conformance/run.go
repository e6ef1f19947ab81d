// Package conformance runs built guests in tests, whatever language they are written in:
// Run takes records through a guest as a stage of a real pipeline, and Mirror checks a
// guest SDK against the golden vectors of sdk/spec.
package conformance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/engine"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// Topic is the topic that guests run in.
const Topic = "test"

// source serves one module.
type source []byte

func (s source) Get(context.Context, string) ([]byte, error) { return s, nil }

// Guest is a module that is ready to run as the only stage of a write pipeline.
type Guest struct {
	t        testing.TB
	pipeline *pipeline.Pipeline
}

// Load makes a module the stage of a pipeline; the error is why the broker or the module
// refuses that, for example its configuration. Everything is freed when the test ends.
func Load(t testing.TB, wasm []byte, config string) (*Guest, error) {
	t.Helper()
	e, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatalf("start the engine: %v", err)
	}
	sum := sha256.Sum256(wasm)
	p, err := pipeline.Compile(context.Background(), e, source(wasm), pipeline.Spec{
		Name:   Topic,
		Place:  abi.PlaceWrite,
		Stages: []pipeline.StageSpec{{Module: "guest", Version: 1, Hash: hex.EncodeToString(sum[:]), Config: json.RawMessage(config)}},
	})
	t.Cleanup(func() {
		if p != nil {
			p.Close()
		}
		if err := e.Close(context.Background()); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	if err != nil {
		return nil, err
	}
	return &Guest{t: t, pipeline: p}, nil
}

// Run takes records through the guest.
func (g *Guest) Run(records ...record.Record) *pipeline.Result {
	g.t.Helper()
	for i := range records {
		records[i].OffsetDelta = int32(i)
	}
	result := &pipeline.Result{}
	err := g.pipeline.Run(context.Background(), pipeline.Input{Topic: Topic, BaseOffset: -1, Records: records}, result)
	if err != nil {
		g.t.Fatalf("run the pipeline: %v", err)
	}
	return result
}

// Run loads a guest, takes records through it, and fails the test when the guest is refused.
func Run(t testing.TB, wasm []byte, config string, records ...record.Record) *pipeline.Result {
	t.Helper()
	g, err := Load(t, wasm, config)
	if err != nil {
		t.Fatalf("load the guest: %v", err)
	}
	return g.Run(records...)
}
