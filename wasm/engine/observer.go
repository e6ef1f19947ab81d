package engine

import "time"

// Observer receives what modules do, for metrics. module is the label of the stage's pool, for example
// "redact@2". Methods are called from many goroutines and must be quick.
type Observer interface {
	// Call: one batch went through a module. err is nil or why the call failed.
	Call(module string, d time.Duration, records, inputBytes int, err error)
	// Outcome: what became of the records that a stage saw.
	Outcome(module string, o Outcome)
	// Instances: delta instances were started (or stopped, when negative).
	Instances(module string, delta int)
	// Memory: linear memory grew by delta bytes (or was given back).
	Memory(module string, delta int64)
	// GuestMetric: the module added delta to a counter of its own.
	GuestMetric(module, name string, delta int64)
}

// Outcome counts records of one stage in one batch. Failed ones are also counted under what on_error made
// of them.
type Outcome struct {
	In       int // records that the stage saw
	Kept     int
	Emitted  int // new records in the same topic
	Routed   int // records that left for another topic
	Dropped  int
	Rejected int
	Failed   int // the module failed on them, or was paused
}

// NoObserver ignores everything.
type NoObserver struct{}

// Call implements Observer.
func (NoObserver) Call(string, time.Duration, int, int, error) {}

// Outcome implements Observer.
func (NoObserver) Outcome(string, Outcome) {}

// Instances implements Observer.
func (NoObserver) Instances(string, int) {}

// Memory implements Observer.
func (NoObserver) Memory(string, int64) {}

// GuestMetric implements Observer.
func (NoObserver) GuestMetric(string, string, int64) {}
