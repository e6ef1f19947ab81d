// Package config is the configuration of a broker process: a plain struct, where its values come
// from, and what is wrong with them.
//
// Every value has one name: the flag --log-level is the variable WASMILL_LOG_LEVEL and the
// key log-level of the YAML file. Flags win over variables, variables over the file, the file over
// the defaults.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/wasmill/wasmill/core/admission"
)

// Bytes is a size; in text it may bear a unit such as 64MiB.
type Bytes int64

// UnmarshalText reads "1048576", "1MiB", "1 MB".
func (b *Bytes) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > 1<<62 {
		return fmt.Errorf("%q is not a size such as 64MiB", text)
	}
	*b = Bytes(n)
	return nil
}

// String is the size in the unit that shows it exactly.
func (b Bytes) String() string {
	for _, u := range []struct {
		name string
		size Bytes
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b > 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Set and Type make it a flag.
func (b *Bytes) Set(s string) error { return b.UnmarshalText([]byte(s)) }

// Type is what help shows in the place of a value.
func (b *Bytes) Type() string { return "size" }

// Config is all that can be said about a broker process. Zero is not a default: take Default.
type Config struct {
	Data      string `koanf:"data"`
	HTTP      string `koanf:"http"`
	Advertise string `koanf:"advertise"`
	BrokerID  string `koanf:"broker-id"`

	LogLevel  string `koanf:"log-level"`
	LogFormat string `koanf:"log-format"`

	MaxBodyBytes     Bytes `koanf:"max-body-bytes"`
	MaxModuleBytes   Bytes `koanf:"max-module-bytes"`
	MaxFetchBytes    Bytes `koanf:"max-fetch-bytes"`
	MaxInFlightBytes Bytes `koanf:"max-in-flight-bytes"`
	MaxConnections   int   `koanf:"max-connections"`
	RecycleBytes     Bytes `koanf:"recycle-bytes"`
	WasmInstances    int   `koanf:"wasm-instances"`

	MaintainEvery   time.Duration `koanf:"maintain-every"`
	ShutdownTimeout time.Duration `koanf:"shutdown-timeout"`
	OTLPEndpoint    string        `koanf:"otlp-endpoint"`
	Pprof           string        `koanf:"pprof"`
}

// Default is the configuration of a broker that is given none.
func Default() Config {
	return Config{
		Data:             "./wasmill-data",
		HTTP:             "127.0.0.1:8640",
		BrokerID:         "1",
		LogLevel:         "info",
		LogFormat:        "text",
		MaxBodyBytes:     32 << 20,
		MaxModuleBytes:   32 << 20,
		MaxFetchBytes:    16 << 20,
		MaxInFlightBytes: admission.DefaultTotal,
		MaxConnections:   16384,
		RecycleBytes:     256 << 20,
		MaintainEvery:    30 * time.Second,
		ShutdownTimeout:  30 * time.Second,
	}
}

// Flags declares a flag for every value. Read them with Load.
func Flags(f *pflag.FlagSet) {
	c := Default()
	f.String("data", c.Data, "directory that holds all data; made when missing")
	f.String("http", c.HTTP, "address to listen on; port 0 takes a free one")
	f.String("advertise", c.Advertise, "address under which clients reach this broker (default: the one it listens on)")
	f.String("broker-id", c.BrokerID, "name of this broker in its cluster")
	f.String("log-level", c.LogLevel, "debug, info, warn or error")
	f.String("log-format", c.LogFormat, "text or json")
	f.Var(&c.MaxBodyBytes, "max-body-bytes", "largest body of a request")
	f.Var(&c.MaxModuleBytes, "max-module-bytes", "largest module that may be uploaded")
	f.Var(&c.MaxFetchBytes, "max-fetch-bytes", "most that one fetch answers; at most a quarter of --max-in-flight-bytes")
	f.Var(&c.MaxInFlightBytes, "max-in-flight-bytes", "memory of all requests together: half for bodies, a quarter for answers, an eighth each for decompressed batches and for records that wait for the disk; what does not fit is told to wait")
	f.Int("max-connections", c.MaxConnections, "connections at a time")
	f.Var(&c.RecycleBytes, "recycle-bytes", "deleted segment files kept for reuse; 0 for none")
	f.Int("wasm-instances", c.WasmInstances, "instances of a module that run at a time; 0: one per processor")
	f.Duration("maintain-every", c.MaintainEvery, "how often retention is looked after")
	f.Duration("shutdown-timeout", c.ShutdownTimeout, "how long requests may take to end when the broker stops")
	f.String("otlp-endpoint", c.OTLPEndpoint, "URL of an OpenTelemetry collector to export to, such as http://127.0.0.1:4318 (default: none)")
	f.String("pprof", c.Pprof, "address for Go profiles under /debug/pprof/; only for people you trust (default: none)")
}

// Validate reports every fault at once, each with the name of its value.
func (c Config) Validate() error {
	var faults []error
	fault := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
	}
	if strings.TrimSpace(c.Data) == "" {
		fault("data", "must name a directory")
	}
	if err := checkAddress(c.HTTP); err != nil {
		fault("http", "%v; give HOST:PORT such as 127.0.0.1:8640", err)
	}
	if c.Advertise != "" {
		if err := checkURL(c.Advertise); err != nil {
			fault("advertise", "%v; give a URL such as http://broker-1.example.com:8640", err)
		}
	}
	if c.Pprof != "" {
		if err := checkAddress(c.Pprof); err != nil {
			fault("pprof", "%v; give HOST:PORT such as 127.0.0.1:6060", err)
		}
	}
	if c.OTLPEndpoint != "" {
		if err := checkURL(c.OTLPEndpoint); err != nil {
			fault("otlp-endpoint", "%v; give a URL such as http://127.0.0.1:4318", err)
		}
	}
	if c.BrokerID == "" || len(c.BrokerID) > 64 || strings.ContainsAny(c.BrokerID, " \t\n/") {
		fault("broker-id", "%q must be 1 to 64 characters without blanks and slashes", c.BrokerID)
	}
	if _, err := c.Level(); err != nil {
		fault("log-level", "%q is not debug, info, warn or error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		fault("log-format", "%q is not text or json", c.LogFormat)
	}
	c.validateLimits(fault)
	return errors.Join(faults...)
}

func (c Config) validateLimits(fault func(name, format string, args ...any)) {
	for _, v := range []struct {
		name               string
		value, least, most Bytes
	}{
		{"max-body-bytes", c.MaxBodyBytes, 64 << 10, 1 << 30},
		{"max-module-bytes", c.MaxModuleBytes, 4 << 10, 1 << 30},
		{"max-fetch-bytes", c.MaxFetchBytes, 64 << 10, 1 << 30},
		{"max-in-flight-bytes", c.MaxInFlightBytes, 1 << 20, 1 << 50},
		{"recycle-bytes", c.RecycleBytes, 0, 1 << 50},
	} {
		if v.value < v.least || v.value > v.most {
			fault(v.name, "%s is not between %s and %s", v.value, v.least, v.most)
		}
	}
	largest := max(c.MaxBodyBytes, c.MaxModuleBytes)
	if buffer := bufferFor(largest); c.MaxInFlightBytes < 2*buffer {
		fault("max-in-flight-bytes", "%s must be at least %s: half of it is for bodies, and the largest, %s, needs %s",
			c.MaxInFlightBytes, 2*buffer, largest, buffer)
	}
	if answers := c.answerBytes(); c.MaxFetchBytes > answers {
		fault("max-fetch-bytes", "%s is more than a quarter of max-in-flight-bytes, %s: answers get no more; lower it, or raise max-in-flight-bytes to %s",
			c.MaxFetchBytes, answers, 4*c.MaxFetchBytes)
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1<<20 {
		fault("max-connections", "%d is not between 1 and %d", c.MaxConnections, 1<<20)
	}
	if c.WasmInstances < 0 || c.WasmInstances > 1024 {
		fault("wasm-instances", "%d is not between 0 and 1024", c.WasmInstances)
	}
	if c.MaintainEvery < 100*time.Millisecond || c.MaintainEvery > time.Hour {
		fault("maintain-every", "%v is not between 100ms and 1h", c.MaintainEvery)
	}
	if c.ShutdownTimeout < time.Second || c.ShutdownTimeout > time.Hour {
		fault("shutdown-timeout", "%v is not between 1s and 1h", c.ShutdownTimeout)
	}
}

// answerBytes is the part of the memory of requests that answers get.
func (c Config) answerBytes() Bytes {
	return Bytes(admission.Divide(int64(c.MaxInFlightBytes)).Answers)
}

// bufferFor is the memory for a body of n bytes: buffers are powers of two.
func bufferFor(n Bytes) Bytes {
	if n <= 1 {
		return n
	}
	return 1 << bits.Len64(uint64(n-1))
}

// Level is LogLevel as slog knows it.
func (c Config) Level() (slog.Level, error) {
	var l slog.Level
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
		return l, l.UnmarshalText([]byte(c.LogLevel))
	}
	return l, fmt.Errorf("unknown log level %q", c.LogLevel)
}

func checkAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not an address", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%q is not an http or https URL", s)
	}
	return nil
}
