package httpapi

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
)

// fetchQuery is what the query of a fetch asks for.
type fetchQuery struct {
	offset   int64             // -1: spec names the place
	spec     broker.OffsetSpec // earliest when the query names no offset
	maxBytes int
	minBytes int
	wait     time.Duration
	follow   bool
	followed bool // follow was given
	stages   []api.Stage
	configs  []json.RawMessage
}

// parseFetchQuery reads a fetch's parameters. Amounts beyond the server's limits are cut to them; a
// parameter that is unknown, repeated or makes no sense is an error.
func parseFetchQuery(args *fasthttp.Args, o *Options) (fetchQuery, error) {
	q := fetchQuery{offset: -1, maxBytes: min(defaultFetchBytes, o.MaxFetchBytes), minBytes: 1}
	var seen uint
	for k, v := range args.All() {
		bit, err := q.parameter(k, v, o)
		if err != nil {
			return q, err
		}
		if bit != 0 && seen&bit != 0 {
			return q, errcode.New(errcode.InvalidRequest, "parameter %q is given twice", k)
		}
		seen |= bit
	}
	q.maxBytes = min(q.maxBytes, o.MaxFetchBytes)
	q.minBytes = min(q.minBytes, q.maxBytes)
	q.wait = min(q.wait, o.MaxWait)
	return q, q.configure()
}

// parameter takes one parameter; the bit is set for those that may be given only once.
func (q *fetchQuery) parameter(k, v []byte, o *Options) (bit uint, err error) {
	switch string(k) {
	case "offset":
		return 1, q.parseOffset(v)
	case "max_bytes":
		q.maxBytes, err = parseAmount(k, v, 1)
		return 2, err
	case "min_bytes":
		q.minBytes, err = parseAmount(k, v, 0)
		return 4, err
	case "wait":
		q.wait, err = parseWait(v)
		return 8, err
	case "follow":
		q.followed = true
		q.follow, err = parseFlag(k, v)
		return 16, err
	case "module":
		if len(q.stages) == api.MaxStages {
			return 0, errcode.New(errcode.InvalidPipeline, "the query names more than %d modules; put the pipeline into a view", api.MaxStages)
		}
		q.stages = append(q.stages, api.Stage{Module: string(v)})
		return 0, nil
	case "module_config":
		return 0, q.addConfig(v)
	}
	return 0, unknownParameter(k, "offset", "max_bytes", "min_bytes", "wait", "follow", "module", "module_config")
}

func unknownParameter(k []byte, known ...string) error {
	return errcode.New(errcode.InvalidRequest, "this call has no parameter %q; it knows %q", clip(k), known)
}

func (q *fetchQuery) parseOffset(v []byte) error {
	switch string(v) {
	case "earliest":
		q.spec.At = broker.OffsetEarliest
		return nil
	case "latest":
		q.spec.At = broker.OffsetLatest
		return nil
	}
	if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && n >= 0 {
		q.offset = n
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(v))
	if err != nil {
		return errcode.New(errcode.InvalidRequest,
			"offset is %q; it must be a number from 0 on, earliest, latest, or a time such as 2006-01-02T15:04:05Z (a + in it must be written %%2B)", clip(v))
	}
	q.spec = broker.OffsetSpec{At: broker.OffsetAtTime, Time: t}
	return nil
}

// addConfig takes the next module_config.
func (q *fetchQuery) addConfig(v []byte) error {
	if len(q.configs) == api.MaxStages {
		return errcode.New(errcode.InvalidPipeline, "the query has more than %d module_config", api.MaxStages)
	}
	if !json.Valid(v) {
		return errcode.New(errcode.InvalidJSON, "module_config is not JSON: %q", clip(v))
	}
	q.configs = append(q.configs, append(json.RawMessage(nil), v...))
	return nil
}

// configure gives the stages their configurations, the first to the first and so on. As many as
// there are modules or none at all: with fewer it would be a guess whose they are.
func (q *fetchQuery) configure() error {
	if len(q.configs) == 0 {
		return nil
	}
	if len(q.configs) != len(q.stages) {
		return errcode.New(errcode.InvalidRequest, "the query has %d module and %d module_config; give every module one ({} for none), in the same order, or none at all",
			len(q.stages), len(q.configs))
	}
	for i := range q.stages {
		q.stages[i].Config = q.configs[i]
	}
	return nil
}

// parseAmount reads a number of bytes.
func parseAmount(k, v []byte, least int) (int, error) {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < int64(least) {
		return 0, errcode.New(errcode.InvalidRequest, "%s is %q; it must be a number of bytes from %d on", k, clip(v), least)
	}
	return int(n), nil
}

// parseWait reads a duration such as 5s, or a bare number of milliseconds.
func parseWait(v []byte) (time.Duration, error) {
	if ms, err := strconv.ParseUint(string(v), 10, 31); err == nil {
		return time.Duration(ms) * time.Millisecond, nil
	}
	d, err := time.ParseDuration(string(v))
	if err != nil || d < 0 {
		return 0, errcode.New(errcode.InvalidRequest, "wait is %q; it must be a duration such as 500ms or 5s, or a number of milliseconds", clip(v))
	}
	return d, nil
}

// parseFlag reads true or false; a parameter without a value is true.
func parseFlag(k, v []byte) (bool, error) {
	switch string(v) {
	case "", "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, errcode.New(errcode.InvalidRequest, "%s is %q; it must be true or false", k, clip(v))
}
