package client

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
)

// Places to start reading at; a decimal offset or a time in RFC 3339 form may be given instead.
const (
	Earliest = "earliest"
	Latest   = "latest"
)

// PartitionFetch asks for one partition's records.
type PartitionFetch struct {
	Topic     string // or a view
	Partition int32
	Offset    string // Earliest, Latest, a number, or a time in RFC 3339 form; empty means Earliest
	MaxBytes  int    // 0: the broker's default. at least one batch is answered even if it is larger
	MinBytes  int
	Wait      time.Duration // how long to wait for MinBytes
	Stages    []AdHocStage  // a read pipeline for this fetch alone
}

// AdHocStage is a stage of a read pipeline that exists for one fetch.
type AdHocStage struct {
	Module string // name or name@version
	Config json.RawMessage
}

// FetchPartition reads one partition. The caller releases the result.
func (c *Client) FetchPartition(ctx context.Context, f PartitionFetch) (*FetchResult, error) {
	p := strconv.Itoa(int(f.Partition))
	r := get("fetch "+f.Topic+"/"+p, "/v1/topics/"+seg(f.Topic)+"/partitions/"+p+"/records")
	r.query, r.wait, r.accept = f.query(), f.Wait, typeBatches
	resp := fasthttp.AcquireResponse()
	if err := c.do(ctx, r, resp); err != nil {
		fasthttp.ReleaseResponse(resp)
		return nil, err
	}
	out := FetchedPartition{FetchedHead: api.FetchedHead{Topic: f.Topic, Partition: f.Partition}, Batches: resp.Body()}
	for name, dst := range map[string]*int64{
		"Wasmill-High-Watermark":   &out.HighWatermark,
		"Wasmill-Log-Start-Offset": &out.LogStartOffset,
		"Wasmill-Next-Offset":      &out.NextOffset,
	} {
		n, err := strconv.ParseInt(string(resp.Header.Peek(name)), 10, 64)
		if err != nil || n < 0 {
			got := string(resp.Header.Peek(name))
			fasthttp.ReleaseResponse(resp)
			return nil, fmt.Errorf("%s: %w: header %s is %q", r.op, ErrBadAnswer, name, got)
		}
		*dst = n
	}
	return &FetchResult{Partitions: []FetchedPartition{out}, resp: resp}, nil
}

func (f PartitionFetch) query() url.Values {
	q := url.Values{}
	set := func(name string, n int64) {
		if n > 0 {
			q.Set(name, strconv.FormatInt(n, 10))
		}
	}
	if f.Offset != "" {
		q.Set("offset", f.Offset)
	}
	set("max_bytes", int64(f.MaxBytes))
	set("min_bytes", int64(f.MinBytes))
	if f.Wait > 0 {
		q.Set("wait", f.Wait.String())
	}
	for _, s := range f.Stages {
		q.Add("module", s.Module)
		config := string(s.Config)
		if config == "" {
			config = "{}"
		}
		q.Add("module_config", config)
	}
	return q
}

// FetchRequest asks for records of any number of partitions in one round trip.
type FetchRequest struct {
	Partitions []FetchFrom
	MinBytes   int           // answer as soon as this many bytes are there
	Wait       time.Duration // and at the latest after this long
}

// FetchResult is the answer, in the request's order.
type FetchResult struct {
	Partitions []FetchedPartition
	resp       *fasthttp.Response // owns every Batches
}

// Release gives the buffers back; no Batches may be used afterwards. Safe to call twice.
func (r *FetchResult) Release() {
	if r.resp != nil {
		fasthttp.ReleaseResponse(r.resp)
		r.resp = nil
	}
}

// FetchedPartition is one partition's part of an answer.
type FetchedPartition struct {
	api.FetchedHead
	Batches []byte `json:"-"` // whole record batches; the first may begin before the offset asked for
}

// Fetch reads many partitions. The caller releases the result. Partitions fail one by one: look at
// each one's Error.
func (c *Client) Fetch(ctx context.Context, f FetchRequest) (*FetchResult, error) {
	r := post("fetch", "/v1/fetch")
	body, err := json.Marshal(api.FetchRequest{Partitions: f.Partitions, MinBytes: f.MinBytes, WaitMS: f.Wait.Milliseconds()})
	if err != nil {
		return nil, fmt.Errorf("fetch: encode: %w", err)
	}
	r.body, r.contentType, r.accept = body, typeJSON, typeFetch
	r.wait, r.repeatable = f.Wait, true
	resp := fasthttp.AcquireResponse()
	if err = c.do(ctx, r, resp); err == nil {
		var parts []FetchedPartition
		if parts, err = parseFetch(resp.Body(), f.Partitions); err == nil {
			return &FetchResult{Partitions: parts, resp: resp}, nil
		}
		err = fmt.Errorf("fetch: %w: %w", ErrBadAnswer, err)
	}
	fasthttp.ReleaseResponse(resp)
	return nil, err
}

// parseFetch takes a binary answer apart: u32 little-endian length of a JSON header, the header, then
// every partition's batches back to back. The answer is checked against the request.
func parseFetch(body []byte, asked []FetchFrom) ([]FetchedPartition, error) {
	if len(body) < 4 {
		return nil, fmt.Errorf("%d bytes are no fetch answer", len(body))
	}
	n, rest := binary.LittleEndian.Uint32(body), body[4:]
	if uint64(n) > uint64(len(rest)) {
		return nil, fmt.Errorf("header of %d bytes in an answer of %d", n, len(body))
	}
	var head struct {
		Partitions []FetchedPartition `json:"partitions"`
	}
	if err := json.Unmarshal(rest[:n], &head); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	rest = rest[n:]
	if len(head.Partitions) != len(asked) {
		return nil, fmt.Errorf("%d partitions in answer to %d", len(head.Partitions), len(asked))
	}
	for i := range head.Partitions {
		p := &head.Partitions[i]
		if p.Topic != asked[i].Topic || p.Partition != asked[i].Partition {
			return nil, fmt.Errorf("partition %s/%d in the place of %s/%d", p.Topic, p.Partition, asked[i].Topic, asked[i].Partition)
		}
		if p.Length < 0 || p.Length > len(rest) {
			return nil, fmt.Errorf("%s/%d: length %d with %d bytes left", p.Topic, p.Partition, p.Length, len(rest))
		}
		p.Batches, rest = rest[:p.Length:p.Length], rest[p.Length:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%d bytes too many", len(rest))
	}
	return head.Partitions, nil
}
