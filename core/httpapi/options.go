package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/wasmill/wasmill/core/admission"
)

// Options configure a Server. The zero value of a field means its default.
type Options struct {
	Logger *slog.Logger // nil: discards

	// Admission bounds the memory of requests; the broker must have the same one. nil: one of the
	// default size.
	Admission *admission.Controller

	// Metrics answers GET /metrics; nil: there is nothing at that address.
	Metrics http.Handler
	// Observer is called for every request; may be nil.
	Observer Observer
	// TraceContext puts what the request's headers say about a trace into the context that the
	// observer and the broker get; may be nil.
	TraceContext func(ctx context.Context, headers Headers) context.Context
	// Leader is the address of this broker's HTTP API, sent as Wasmill-Leader; empty: not sent.
	Leader string
	// Now is the clock for records that bring no time of their own; nil: time.Now.
	Now func() time.Time

	MaxBodyBytes   int // of one request. Default 32 MiB
	MaxModuleBytes int // of one uploaded module. Default 32 MiB
	MaxHeaderBytes int // request line and headers together. Default 16 KiB
	MaxRecords     int // in one JSON or NDJSON body. Default 100,000
	MaxFetchBytes  int // that a fetch may ask for. Default 16 MiB
	MaxJSONBytes   int // of one JSON or NDJSON fetch answer. Default 32 MiB, or what all answers have
	MaxConnections int // open at once. Default 16,384
	MaxFetchParts  int // partitions in one POST /v1/fetch. Default 1,024

	HeaderTimeout time.Duration // from a request's first byte to the end of its headers. Default 10 s
	IdleTimeout   time.Duration // of a kept-alive connection between requests. Default 2 min
	BodyGrace     time.Duration // how long an upload may take at any pace. Default 10 s
	MinBodyRate   int           // bytes per second that it must reach beyond that. Default 16 KiB/s
	WriteTimeout  time.Duration // how long an answer may take at any pace; beyond it MinBodyRate counts. Default 30 s
	MaxWait       time.Duration // of a long poll; longer ones are cut. Default 60 s
	KeepAlive     time.Duration // between comments on a silent event stream. Default 15 s
}

// Defaults that docs/http-api.md names.
const (
	defaultMaxBodyBytes   = 32 << 20
	defaultMaxModuleBytes = 32 << 20
	defaultMaxHeaderBytes = 16 << 10
	defaultMaxRecords     = 100_000
	defaultMaxFetchBytes  = 16 << 20
	defaultMaxJSONBytes   = 32 << 20
	defaultMaxConnections = 16_384
	defaultMaxFetchParts  = 1_024
	defaultMinBodyRate    = 16 << 10
	defaultFetchBytes     = 1 << 20 // of a fetch that does not say
)

// withDefaults fills what was left at zero.
func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Admission == nil {
		o.Admission = admission.Default()
	}
	answers := int(o.Admission.Answers.Limit())
	o.MaxBodyBytes = cmp.Or(o.MaxBodyBytes, defaultMaxBodyBytes)
	o.MaxModuleBytes = cmp.Or(o.MaxModuleBytes, defaultMaxModuleBytes)
	o.MaxHeaderBytes = cmp.Or(o.MaxHeaderBytes, defaultMaxHeaderBytes)
	o.MaxRecords = cmp.Or(o.MaxRecords, defaultMaxRecords)
	o.MaxFetchBytes = cmp.Or(o.MaxFetchBytes, defaultMaxFetchBytes)
	o.MaxJSONBytes = cmp.Or(o.MaxJSONBytes, min(defaultMaxJSONBytes, answers))
	o.MaxConnections = cmp.Or(o.MaxConnections, defaultMaxConnections)
	o.MaxFetchParts = cmp.Or(o.MaxFetchParts, defaultMaxFetchParts)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 10*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 2*time.Minute)
	o.BodyGrace = cmp.Or(o.BodyGrace, 10*time.Second)
	o.MinBodyRate = cmp.Or(o.MinBodyRate, defaultMinBodyRate)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	o.MaxWait = cmp.Or(o.MaxWait, time.Minute)
	o.KeepAlive = cmp.Or(o.KeepAlive, 15*time.Second)
	return o
}

// validate reports every fault at once. It looks at options whose defaults are filled in.
func (o *Options) validate() error {
	var faults []error
	positive := func(name string, v int64) {
		if v < 0 {
			faults = append(faults, fmt.Errorf("%s is %d: it must not be negative", name, v))
		}
	}
	positive("MaxBodyBytes", int64(o.MaxBodyBytes))
	positive("MaxModuleBytes", int64(o.MaxModuleBytes))
	positive("MaxHeaderBytes", int64(o.MaxHeaderBytes))
	positive("MaxRecords", int64(o.MaxRecords))
	positive("MaxFetchBytes", int64(o.MaxFetchBytes))
	positive("MaxJSONBytes", int64(o.MaxJSONBytes))
	positive("MaxConnections", int64(o.MaxConnections))
	positive("MaxFetchParts", int64(o.MaxFetchParts))
	positive("HeaderTimeout", int64(o.HeaderTimeout))
	positive("IdleTimeout", int64(o.IdleTimeout))
	positive("BodyGrace", int64(o.BodyGrace))
	positive("MinBodyRate", int64(o.MinBodyRate))
	positive("WriteTimeout", int64(o.WriteTimeout))
	positive("MaxWait", int64(o.MaxWait))
	positive("KeepAlive", int64(o.KeepAlive))
	if largest := int64(classSize(classOf(max(o.MaxBodyBytes, o.MaxModuleBytes)))); o.Admission.Bodies.Limit() < largest {
		faults = append(faults, fmt.Errorf("option Admission has %d bytes for bodies: a single one of the largest allowed size needs %d",
			o.Admission.Bodies.Limit(), largest))
	}
	return errors.Join(faults...)
}
