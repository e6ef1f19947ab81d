// Package wasmilltest runs a transform natively, as a broker would, so that it can be tested
// and debugged with plain go test:
//
//	func TestFilter(t *testing.T) {
//		run := wasmilltest.New(t, newFilter(), wasmilltest.Config(`{"min":3}`))
//		got := run.Values("2", "3")
//		if got.Verdict(0) != wasmilltest.Dropped || got.Verdict(1) != wasmilltest.Kept {
//			t.Error(got)
//		}
//	}
//
// Batches go through the same encoding as in a broker, and what the transform answers is
// checked against the rules of the ABI; a breach fails the test.
package wasmilltest

import (
	"encoding/json"
	"errors"
	"testing"

	wasmill "github.com/wasmill/wasmill/sdk/go"
)

// Record is one record that goes in or comes out. A nil Key or Value is null.
type Record struct {
	Key, Value []byte
	Headers    []wasmill.Header
	Timestamp  int64 // milliseconds since 1970
	Offset     int64 // -1 or 0 and more; on write, where offsets are not known yet, it is always -1
}

// Action is one decision of the transform, with the record as it is passed on.
type Action struct {
	Kind      Kind
	Index     int    // of the record in the batch that went in
	Topic     string // the topic it goes to
	Partition int32  // -1: the key decides
	Record    Record // for Keep, Route and Emit
	Code      uint16 // for Reject
	Message   string // for Reject
}

// Kind is what an action does.
type Kind uint8

// The kinds of actions, numbered as in the ABI.
const (
	Keep   Kind = 1
	Route  Kind = 2
	Emit   Kind = 3
	Reject Kind = 4
)

// Verdict is what became of a record in its own topic.
type Verdict string

// The verdicts.
const (
	Kept     Verdict = "kept"
	Changed  Verdict = "changed"
	Routed   Verdict = "routed" // to other topics only
	Dropped  Verdict = "dropped"
	Rejected Verdict = "rejected"
)

// Option changes how a transform is run.
type Option func(*Runner)

// Config is the stage's configuration, as JSON text.
func Config(text string) Option { return func(r *Runner) { r.config = text } }

// Topic is the topic being processed, "test" unless given.
func Topic(name string) Option { return func(r *Runner) { r.call.topic = name } }

// Partition is the partition being processed, 0 unless given.
func Partition(n int32) Option { return func(r *Runner) { r.call.partition = n } }

// Place is where the pipeline stands, the write pipeline unless given.
func Place(p wasmill.Place) Option { return func(r *Runner) { r.call.place = p } }

// Now is the time of the batch in milliseconds since 1970, 0 unless given.
func Now(ms int64) Option { return func(r *Runner) { r.call.now = ms } }

// Runner is one instance of a transform with its configuration.
type Runner struct {
	t        testing.TB
	instance *wasmill.Instance
	config   string
	call     call
	metrics  map[string]int64
	logs     []string
}

// Start is New for tests of refused configurations: it returns the error of Init.
func Start(t testing.TB, transform wasmill.Transform, options ...Option) (*Runner, error) {
	r := &Runner{t: t, config: "{}", call: call{topic: "test"}, metrics: map[string]int64{}}
	for _, o := range options {
		o(r)
	}
	r.instance = wasmill.NewInstance(transform, wasmill.Host{
		Log:       func(_ wasmill.Level, message string) { r.logs = append(r.logs, message) },
		Now:       func() int64 { return r.call.now },
		Random:    func(b []byte) { fill(b, r.call.now) },
		AddMetric: func(name string, delta int64) { r.metrics[name] += delta },
		Config:    r.lookup,
	})
	return r, r.instance.Init([]byte(r.config))
}

// New starts an instance of a transform and fails the test when it refuses its configuration.
func New(t testing.TB, transform wasmill.Transform, options ...Option) *Runner {
	t.Helper()
	r, err := Start(t, transform, options...)
	if err != nil {
		t.Fatalf("the transform refuses its configuration: %v", err)
	}
	return r
}

// Run runs one batch and fails the test when the whole call fails.
func (r *Runner) Run(records ...Record) *Result {
	t := r.t
	t.Helper()
	result, err := r.Try(records...)
	if err != nil {
		t.Fatalf("the call failed: %v", err)
	}
	return result
}

// Values runs one batch of records that have a value alone.
func (r *Runner) Values(values ...string) *Result {
	r.t.Helper()
	records := make([]Record, len(values))
	for i, v := range values {
		records[i].Value = []byte(v)
	}
	return r.Run(records...)
}

// Try runs one batch. The error is what the transform failed the call with; an answer that
// breaks the ABI fails the test.
func (r *Runner) Try(records ...Record) (*Result, error) {
	t := r.t
	t.Helper()
	c := r.call
	c.fields = r.instance.Fields()
	input := encode(c, records)
	result := r.instance.Process(input, inputAddress)
	actions, err := decode(decoder{view: r.view(input), call: c, records: records}, result)
	var failed *callFailed
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("the transform broke the ABI: %v", err)
	}
	if err != nil {
		return nil, err
	}
	return &Result{Actions: actions, t: t, topic: c.topic, records: len(records)}, nil
}

// inputAddress is where batches lie in the guest's memory: below everything of its own.
const inputAddress = 1024

// view reads the guest's memory: the input, or what the guest has allocated.
func (r *Runner) view(input []byte) func(address, n uint32) ([]byte, bool) {
	return func(address, n uint32) ([]byte, bool) {
		if address >= inputAddress && uint64(address-inputAddress)+uint64(n) <= uint64(len(input)) {
			return input[address-inputAddress:][:n], true
		}
		return r.instance.Memory(address, n)
	}
}

// Metrics are the counters that the transform has added to.
func (r *Runner) Metrics() map[string]int64 { return r.metrics }

// Logs are the lines that the transform has logged.
func (r *Runner) Logs() []string { return r.logs }

func (r *Runner) lookup(key string) (string, bool) {
	var config map[string]json.RawMessage
	if json.Unmarshal([]byte(r.config), &config) != nil || config[key] == nil {
		return "", false
	}
	var text string
	if json.Unmarshal(config[key], &text) == nil {
		return text, true
	}
	return string(config[key]), true
}

// fill writes a fixed pseudo-random sequence: the same for the same seed, as in a broker.
func fill(b []byte, seed int64) {
	x := uint64(seed) ^ 0x9E3779B97F4A7C15
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
}
