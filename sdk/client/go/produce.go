package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// AnyPartition leaves the choice of the partition to the broker: by key, or in turn.
const AnyPartition int32 = -1

// Value is one record whose value is the request's body.
type Value struct {
	Partition   int32 // AnyPartition: by key
	Key         []byte
	Value       []byte
	ContentType string // anything but the API's own types; default application/octet-stream
}

// ProduceBatches writes record batches that are back to back in body; it reads body until it
// returns. With AnyPartition the broker splits them by key. A failed attempt is repeated only when
// every batch carries a producer id and the partition is given: the broker then knows a batch that
// it has already.
//
// When a write pipeline rejected every record, the result describes each and the error is an *Error
// with errcode.InvalidRecord.
func (c *Client) ProduceBatches(ctx context.Context, topic string, partition int32, body []byte) (*ProduceResult, error) {
	r := produceCall(topic, partition)
	r.contentType, r.body = typeBatches, body
	r.repeatable = partition >= 0 && idempotent(body)
	return c.produce(ctx, r)
}

// idempotent reports whether every batch in body names its producer.
func idempotent(body []byte) bool {
	for b, err := range record.All(body) {
		if err != nil || b.ProducerID() < 0 {
			return false
		}
	}
	return true
}

// ProduceRecords writes records given as JSON. It is not repeated after an attempt that may have
// taken effect.
func (c *Client) ProduceRecords(ctx context.Context, topic string, records []JSONRecord) (*ProduceResult, error) {
	r := produceCall(topic, AnyPartition)
	body, err := json.Marshal(api.Records{Records: records})
	if err != nil {
		return nil, fmt.Errorf("%s: encode: %w", r.op, err)
	}
	r.contentType, r.body = typeJSON, body
	return c.produce(ctx, r)
}

// ProduceNDJSON writes one record per line of body, each a JSON object as in ProduceRecords.
func (c *Client) ProduceNDJSON(ctx context.Context, topic string, partition int32, body []byte) (*ProduceResult, error) {
	r := produceCall(topic, partition)
	r.contentType, r.body = typeNDJSON, body
	return c.produce(ctx, r)
}

// ProduceValue writes one record. A key that is not plain printable text is sent in base64.
func (c *Client) ProduceValue(ctx context.Context, topic string, v Value) (*ProduceResult, error) {
	r := produceCall(topic, v.Partition)
	r.contentType, r.body = v.ContentType, v.Value
	if r.contentType == "" {
		r.contentType = "application/octet-stream"
	}
	if r.body == nil {
		r.body = []byte{}
	}
	switch {
	case v.Key == nil:
	case printable(v.Key):
		r.header = append(r.header, [2]string{"Wasmill-Key", string(v.Key)})
	default:
		r.header = append(r.header, [2]string{"Wasmill-Key-B64", base64.StdEncoding.EncodeToString(v.Key)})
	}
	return c.produce(ctx, r)
}

// printable reports whether b survives as the value of an HTTP header.
func printable(b []byte) bool {
	for _, ch := range b {
		if ch < ' ' || ch > '~' {
			return false
		}
	}
	return len(b) > 0 && b[0] != ' ' && b[len(b)-1] != ' '
}

func produceCall(topic string, partition int32) call {
	r := post("produce to "+topic, "/v1/topics/"+seg(topic)+"/records")
	if partition >= 0 {
		r.op += "/" + strconv.Itoa(int(partition))
		r.query = url.Values{"partition": {strconv.Itoa(int(partition))}}
	}
	r.accept = typeJSON
	return r
}

// produce sends the call and reads the result, also the one inside a refusal of every record.
func (c *Client) produce(ctx context.Context, r call) (*ProduceResult, error) {
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)
	out := new(ProduceResult)
	err := c.do(ctx, r, resp)
	var refused *Error
	if errors.As(err, &refused) && refused.Code == errcode.InvalidRecord {
		refused.Field("topic", &out.Topic)
		refused.Field("partitions", &out.Partitions)
		refused.Field("dropped", &out.Dropped)
		refused.Field("routed", &out.Routed)
		if refused.Field("rejected", &out.Rejected) && len(out.Rejected) > 0 {
			return out, err
		}
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(resp.Body(), out); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", r.op, ErrBadAnswer, err)
	}
	return out, nil
}
