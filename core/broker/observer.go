package broker

import (
	"time"

	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/wasm/engine"
)

// Observer receives what the broker does, for metrics. Its methods are called on the paths of requests:
// they must be quick, must not block and must be safe for concurrent use.
type Observer interface {
	engine.Observer
	// Received: a valid produce request brought so many batches, records and bytes.
	Received(topic string, batches, records, bytes int)
	// Produced: a produce request was answered.
	Produced(topic string, result *ProduceResult)
	// Fetched: a fetch was answered.
	Fetched(response *FetchResponse)
	// Phase: a phase of a request took so long; fetches include waiting for records.
	Phase(phase string, took time.Duration)
	// Log is the observer of one partition's log; it may be nil.
	Log(topic string, partition int32) log.Observer
}

// noopObserver is the observer of a broker that is not observed.
type noopObserver struct{ engine.NoObserver }

func (noopObserver) Received(string, int, int, int)  {}
func (noopObserver) Produced(string, *ProduceResult) {}
func (noopObserver) Fetched(*FetchResponse)          {}
func (noopObserver) Phase(string, time.Duration)     {}
func (noopObserver) Log(string, int32) log.Observer  { return nil }
