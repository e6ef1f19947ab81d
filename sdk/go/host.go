package wasmill

// Level is the severity of a log line.
type Level int32

// The levels, as the broker's log has them.
const (
	LevelDebug Level = 0
	LevelInfo  Level = 1
	LevelWarn  Level = 2
	LevelError Level = 3
)

// Log writes a line to the broker's log. Lines are cut after 4096 bytes and limited in rate.
func Log(level Level, message string) { hostLog(int32(level), message) }

// Now is the time of the batch being processed, in milliseconds since 1970. It is the same
// when a call is repeated, which the wall clock is not.
func Now() int64 { return hostNow() }

// Random fills b with bytes that depend on the module and on where the batch stands in the
// log only, so that a repeated call sees the same ones. They must not be used for secrets.
func Random(b []byte) {
	if len(b) > 0 {
		hostRandom(b)
	}
}

// AddMetric adds delta to a counter of the module. Names are lower-case letters, digits and
// underscores, at most 64 long and 64 different ones; others are ignored.
func AddMetric(name string, delta int64) { hostMetricAdd(name, delta) }

// Config returns a top-level key of the stage's configuration: a string as its bare text,
// anything else as JSON text. It saves a transform with a simple configuration from
// decoding JSON. ok is false when there is no such key.
func Config(key string) (value string, ok bool) {
	buf := make([]byte, 256)
	n := hostConfigGet(key, buf)
	if n > len(buf) {
		buf = make([]byte, n)
		n = hostConfigGet(key, buf)
	}
	if n < 0 || n > len(buf) {
		return "", false
	}
	return string(buf[:n]), true
}
