package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/wasmill/wasmill/wasm/abi"
)

// sandbox is what all instances of a pool share: label, configuration, limit, log and counters.
type sandbox struct {
	engine   *Engine
	observer Observer
	label    string
	config   map[string]string // top-level keys, as config_get shows them
	raw      []byte            // what wasmill_init_v1 gets
	limit    int64             // linear memory of one instance, bytes
	log      *guestLog
	meters   guestMetrics
}

func newSandbox(e *Engine, observer Observer, label string, raw []byte, limit int64) *sandbox {
	s := &sandbox{engine: e, observer: observer, label: label, raw: raw, limit: limit}
	s.log = newGuestLog(e.opts.Logger.With(slog.String("module", label)), e.opts.Now)
	s.meters = guestMetrics{observer: observer, label: label}
	return s
}

// parseConfig checks a stage's configuration and returns the text for wasmill_init_v1 and the values for
// config_get.
func parseConfig(config []byte) ([]byte, map[string]string, error) {
	if len(config) == 0 || string(config) == "null" {
		config = []byte("{}")
	}
	if len(config) > abi.MaxConfigBytes {
		return nil, nil, fmt.Errorf("configuration of %d bytes, the limit is %d", len(config), abi.MaxConfigBytes)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, nil, fmt.Errorf("configuration must be a JSON object: %w", err)
	}
	values := make(map[string]string, len(fields))
	for key, raw := range fields {
		var text string
		if json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
			values[key] = text
		} else {
			values[key] = string(raw)
		}
	}
	return config, values, nil
}

// call is the state of an instance's call, for the host functions. Each instance has one.
type call struct {
	sandbox  *sandbox
	in       *abi.Input // nil outside a batch
	random   *rand.ChaCha8
	seeded   bool      // random has been seeded for in
	starting bool      // before the first batch: log lines are remembered
	lastLine string    // the last one
	out      lineSplit // standard output
	err      lineSplit // standard error
	stderr   string    // the first line of standard error since the call began: runtimes write there why they trap
	elapsed  int64     // monotonic clock, ns
}

const maxStderr = 256 // bytes of call.stderr

type callKey struct{}

func newCall(s *sandbox) *call {
	c := &call{sandbox: s, starting: true}
	c.out.line = func(line []byte) { c.logLine(slog.LevelInfo, line) }
	c.err.line = func(line []byte) {
		if c.stderr == "" {
			c.stderr = strings.ToValidUTF8(string(line[:min(len(line), maxStderr)]), "\uFFFD")
		}
		c.logLine(slog.LevelWarn, line)
	}
	return c
}

func (c *call) logLine(level slog.Level, line []byte) {
	if c.starting {
		c.lastLine = string(line)
	}
	c.sandbox.log.line(level, line)
}

// now is record time, so that a repeated call gets the same time.
func (c *call) now() int64 {
	if c.in != nil {
		return c.in.BaseTimestamp
	}
	return c.sandbox.engine.opts.Now().UnixMilli()
}

func (c *call) walltime() (sec int64, nsec int32) {
	t := time.UnixMilli(c.now())
	return t.Unix(), int32(t.Nanosecond())
}

// nanotime only counts its calls: modules cannot measure each other, and a repeated call gets the same times.
func (c *call) nanotime() int64 {
	c.elapsed += int64(time.Millisecond)
	return c.elapsed
}

// nanosleep advances the clock instead of waiting: a sleeping module would occupy an instance.
func (c *call) nanosleep(ns int64) { c.elapsed += max(ns, 0) }

// begin and end enclose one batch.
func (c *call) begin(in *abi.Input) {
	c.in, c.seeded, c.starting, c.stderr = in, false, false, ""
}

func (c *call) end() { c.in = nil }

// fill writes bytes that depend on the module and the batch alone.
func (c *call) fill(b []byte) {
	if !c.seeded {
		seed := sha256.New()
		seed.Write(c.sandbox.raw)
		seed.Write([]byte(c.sandbox.label))
		if c.in != nil {
			var n [20]byte
			binary.LittleEndian.PutUint32(n[0:], uint32(c.in.Partition))
			binary.LittleEndian.PutUint64(n[4:], uint64(c.in.BaseTimestamp))
			binary.LittleEndian.PutUint64(n[12:], uint64(c.in.Offset(0)))
			seed.Write(n[:])
			seed.Write([]byte(c.in.Topic))
		}
		c.random = rand.NewChaCha8([32]byte(seed.Sum(nil)))
		c.seeded = true
	}
	_, _ = c.random.Read(b) // never fails
}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

var errOutOfBounds = errors.New("host function: address out of bounds")
