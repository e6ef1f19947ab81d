package httpapi

import (
	"encoding/json"
	"strconv"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/recordjson"
)

// appendProduced appends a produce result as JSON. It is written by hand because it is the answer to
// every produce: the small ones must cost no more than their append.
func appendProduced(dst []byte, res *broker.ProduceResult) []byte {
	dst = append(dst, `{"topic":`...)
	dst = recordjson.AppendString(dst, res.Topic)
	dst = append(dst, `,"partitions":[`...)
	for i := range res.Partitions {
		dst = comma(dst, i)
		dst = appendProducedPartition(dst, &res.Partitions[i])
	}
	dst = append(dst, ']')
	dst = appendList(dst, "dropped", res.Dropped, appendIndex)
	dst = appendList(dst, "rejected", res.Rejected, appendRejected)
	dst = appendList(dst, "routed", res.Routed, appendRouted)
	return append(dst, '}')
}

// appendList adds a member of a list's elements, nothing for an empty one.
func appendList[T any](dst []byte, name string, list []T, element func([]byte, *T) []byte) []byte {
	if len(list) == 0 {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":[`...)
	for i := range list {
		dst = element(comma(dst, i), &list[i])
	}
	return append(dst, ']')
}

// rawList is a list as a field of an error.
func rawList[T any](list []T, element func([]byte, *T) []byte) json.RawMessage {
	dst := []byte{'['}
	for i := range list {
		dst = element(comma(dst, i), &list[i])
	}
	return append(dst, ']')
}

func appendIndex(dst []byte, index *int) []byte { return strconv.AppendInt(dst, int64(*index), 10) }

// comma separates all elements of a list but the first from the one before.
func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

func appendProducedPartition(dst []byte, p *broker.ProducedPartition) []byte {
	dst = append(dst, `{"partition":`...)
	dst = strconv.AppendInt(dst, int64(p.Partition), 10)
	dst = append(dst, `,"base_offset":`...)
	dst = strconv.AppendInt(dst, p.BaseOffset, 10)
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendInt(dst, int64(p.Count), 10)
	if p.Duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	if p.Error != nil {
		dst = append(dst, `,"error":`...)
		dst = appendError(dst, p.Error)
	}
	return append(dst, '}')
}

// appendError appends an error inside of an answer.
func appendError(dst []byte, e *errcode.Error) []byte {
	b, err := e.MarshalJSON()
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, b...)
}

func appendRejected(dst []byte, r *broker.RejectedRecord) []byte {
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendInt(dst, int64(r.Index), 10)
	dst = append(dst, `,"code":`...)
	dst = strconv.AppendInt(dst, int64(r.Code), 10)
	dst = append(dst, `,"message":`...)
	dst = recordjson.AppendString(dst, r.Message)
	if r.Module != "" {
		dst = append(dst, `,"module":`...)
		dst = recordjson.AppendString(dst, r.Module)
	}
	return append(dst, '}')
}

func appendRouted(dst []byte, r *broker.RoutedRecord) []byte {
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendInt(dst, int64(r.Index), 10)
	dst = append(dst, `,"topic":`...)
	dst = recordjson.AppendString(dst, r.Topic)
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, r.Offset, 10)
	return append(dst, '}')
}
