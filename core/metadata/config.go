package metadata

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

// Flush says when a write is acknowledged.
type Flush string

// The flush modes.
const (
	FlushFsync   Flush = "fsync"   // after the bytes were made durable
	FlushRelaxed Flush = "relaxed" // once the operating system has them; weaker: a power loss may take them
)

// The configuration keys of a topic. Names and units are Kafka's where Kafka has the key.
const (
	keyRetentionMs     = "retention.ms"
	keyRetentionBytes  = "retention.bytes"
	keySegmentBytes    = "segment.bytes"
	keyMaxMessageBytes = "max.message.bytes"
	keyFlush           = "flush"
	keyCompressionType = "compression.type"
	keyTimestampType   = "message.timestamp.type"
)

// Unlimited is the retention that keeps everything.
const Unlimited = -1

const (
	maxRetentionMs     = math.MaxInt64 / int64(time.Millisecond)
	minSegmentBytes    = 64 << 10
	maxSegmentBytes    = 1 << 30
	minMaxMessageBytes = 1 << 10
	maxMaxMessageBytes = 16 << 20
)

// TopicConfig is a topic's configuration with every default filled in.
type TopicConfig struct {
	Retention       time.Duration // records older than this may be dropped; Unlimited keeps them
	RetentionBytes  int64         // of one partition's log; Unlimited sets no bound
	SegmentBytes    int64         // capacity of one segment file
	MaxMessageBytes int           // of one record batch, as it arrives
	Flush           Flush
	CompressionType string // "producer": batches stay compressed as they came
	TimestampType   string // "CreateTime": the producer's timestamps are kept
}

// DefaultTopicConfig is the configuration of a topic that sets no key.
func DefaultTopicConfig() TopicConfig {
	return TopicConfig{
		Retention:       7 * 24 * time.Hour,
		RetentionBytes:  Unlimited,
		SegmentBytes:    64 << 20,
		MaxMessageBytes: 1<<20 + 12,
		Flush:           FlushFsync,
		CompressionType: "producer",
		TimestampType:   "CreateTime",
	}
}

// configKey is one key and its conversion from and to text. The parsers check the syntax only; Validate
// checks the values.
type configKey struct {
	name string
	get  func(TopicConfig) string
	set  func(*TopicConfig, string) error
}

var configKeys = []configKey{
	{keyCompressionType, func(c TopicConfig) string { return c.CompressionType },
		func(c *TopicConfig, v string) error { c.CompressionType = v; return nil }},
	{keyFlush, func(c TopicConfig) string { return string(c.Flush) },
		func(c *TopicConfig, v string) error { c.Flush = Flush(v); return nil }},
	{keyMaxMessageBytes, func(c TopicConfig) string { return strconv.Itoa(c.MaxMessageBytes) },
		func(c *TopicConfig, v string) error { return setInt(&c.MaxMessageBytes, v) }},
	{keyTimestampType, func(c TopicConfig) string { return c.TimestampType },
		func(c *TopicConfig, v string) error { c.TimestampType = v; return nil }},
	{keyRetentionBytes, func(c TopicConfig) string { return strconv.FormatInt(c.RetentionBytes, 10) },
		func(c *TopicConfig, v string) error { return setInt(&c.RetentionBytes, v) }},
	{keyRetentionMs, func(c TopicConfig) string { return formatRetention(c.Retention) }, setRetention},
	{keySegmentBytes, func(c TopicConfig) string { return strconv.FormatInt(c.SegmentBytes, 10) },
		func(c *TopicConfig, v string) error { return setInt(&c.SegmentBytes, v) }},
}

func setInt[T int | int64](to *T, text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("must be a whole number")
	}
	*to = T(n)
	return nil
}

func setRetention(c *TopicConfig, text string) error {
	var ms int64
	if err := setInt(&ms, text); err != nil {
		return fmt.Errorf("must be a whole number of milliseconds, or -1 for no limit")
	}
	switch {
	case ms == Unlimited:
		c.Retention = Unlimited
	case ms < 1 || ms > maxRetentionMs:
		return fmt.Errorf("must be -1 (no limit) or from 1 to %d milliseconds", maxRetentionMs)
	default:
		c.Retention = time.Duration(ms) * time.Millisecond
	}
	return nil
}

func formatRetention(d time.Duration) string {
	if d == Unlimited {
		return "-1"
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}

// ConfigFault is one thing that is wrong with a configuration.
type ConfigFault struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

// ParseTopicConfig reads a topic's configuration. It reports all faults at once, in one INVALID_CONFIG
// error whose field "faults" lists them as []ConfigFault, sorted by key.
func ParseTopicConfig(set map[string]string) (TopicConfig, error) {
	c := DefaultTopicConfig()
	var faults []ConfigFault
	for _, name := range slices.Sorted(maps.Keys(set)) {
		i := slices.IndexFunc(configKeys, func(k configKey) bool { return k.name == name })
		if i < 0 {
			faults = append(faults, ConfigFault{clip(name), clip(set[name]), unknownKey(name)})
			continue
		}
		if err := configKeys[i].set(&c, set[name]); err != nil {
			faults = append(faults, ConfigFault{name, clip(set[name]), err.Error()})
		}
	}
	for _, f := range c.faults() {
		if !slices.ContainsFunc(faults, func(seen ConfigFault) bool { return seen.Key == f.Key }) {
			faults = append(faults, f)
		}
	}
	if err := configError(faults); err != nil {
		return TopicConfig{}, err
	}
	return c, nil
}

// Validate reports every value that is out of bounds, in one INVALID_CONFIG error.
func (c TopicConfig) Validate() error { return configError(c.faults()) }

// Map is the configuration as text, under its keys.
func (c TopicConfig) Map() map[string]string {
	m := make(map[string]string, len(configKeys))
	for _, k := range configKeys {
		m[k.name] = k.get(c)
	}
	return m
}

// faults lists the values that are out of bounds, sorted by key.
func (c TopicConfig) faults() []ConfigFault {
	var faults []ConfigFault
	check := func(ok bool, key, reason string, args ...any) {
		if !ok {
			i := slices.IndexFunc(configKeys, func(k configKey) bool { return k.name == key })
			faults = append(faults, ConfigFault{key, clip(configKeys[i].get(c)), fmt.Sprintf(reason, args...)})
		}
	}
	check(c.CompressionType == "producer", keyCompressionType, "must be producer: batches are kept as the producer compressed them")
	check(c.Flush == FlushFsync || c.Flush == FlushRelaxed, keyFlush, "must be fsync or relaxed")
	check(c.MaxMessageBytes >= minMaxMessageBytes && c.MaxMessageBytes <= maxMaxMessageBytes, keyMaxMessageBytes,
		"must be from %d to %d bytes", minMaxMessageBytes, maxMaxMessageBytes)
	check(c.TimestampType == "CreateTime", keyTimestampType, "must be CreateTime: the producer's timestamps are kept")
	check(c.RetentionBytes == Unlimited || c.RetentionBytes >= 1, keyRetentionBytes, "must be -1 (no limit) or at least 1 byte")
	check(c.Retention == Unlimited || c.Retention >= time.Millisecond, keyRetentionMs, "must be -1 (no limit) or at least 1 millisecond")
	check(c.SegmentBytes >= minSegmentBytes && c.SegmentBytes <= maxSegmentBytes, keySegmentBytes,
		"must be from %d to %d bytes", minSegmentBytes, maxSegmentBytes)
	return faults
}

func configError(faults []ConfigFault) error {
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b ConfigFault) int { return strings.Compare(a.Key, b.Key) })
	texts := make([]string, len(faults))
	for i, f := range faults {
		texts[i] = fmt.Sprintf("%s = %q: %s", f.Key, f.Value, f.Reason)
	}
	return errcode.New(errcode.InvalidConfig, "topic configuration is not acceptable: %s", strings.Join(texts, "; ")).
		With("faults", faults)
}

// unknownKey is the reason for a key that does not exist, with the key that is most similar.
func unknownKey(name string) string {
	best, distance := "", 1+len(name)/2
	for _, k := range configKeys {
		if len(name) > 2*len(k.name) {
			continue // not similar, and a long name would cost time
		}
		if d := editDistance(name, k.name); d < distance {
			best, distance = k.name, d
		}
	}
	if best != "" {
		return "there is no such key; did you mean " + best + "?"
	}
	names := make([]string, len(configKeys))
	for i, k := range configKeys {
		names[i] = k.name
	}
	return "there is no such key; the keys are " + strings.Join(names, ", ")
}

// editDistance counts the insertions, deletions and replacements of bytes that turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
