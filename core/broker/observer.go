package broker

import (
	"time"

	"github.com/wasmill/wasmill/raftstore"
	"github.com/wasmill/wasmill/wasm/engine"
)

// Observer hears what the broker does, for metrics. Its methods are called on the paths of requests:
// they must be quick, must not block and must be safe for concurrent use.
type Observer interface {
	engine.Observer
	// Produced: a produce request was answered.
	Produced(topic string, result *ProduceResult, took time.Duration)
	// Fetched: a fetch was answered; took includes waiting for records.
	Fetched(response *FetchResponse, took time.Duration)
	// Log is the observer of one partition's log; it may be nil.
	Log(topic string, partition int32) raftstore.LogObserver
}

// nobody is the observer of a broker that nobody watches.
type nobody struct{ engine.NoObserver }

func (nobody) Produced(string, *ProduceResult, time.Duration) {}
func (nobody) Fetched(*FetchResponse, time.Duration)          {}
func (nobody) Log(string, int32) raftstore.LogObserver        { return nil }
