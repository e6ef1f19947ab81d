package httpapi

import (
	"strconv"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
)

// appendProduced appends a produce result as JSON. It is written by hand because it is the answer to
// every produce: the small ones must cost no more than their append.
func appendProduced(dst []byte, res *broker.ProduceResult) []byte {
	dst = append(dst, `{"topic":`...)
	dst = appendLoose(dst, res.Topic)
	dst = append(dst, `,"partitions":[`...)
	for i := range res.Partitions {
		dst = comma(dst, i)
		dst = appendProducedPartition(dst, &res.Partitions[i])
	}
	dst = append(dst, ']')
	if len(res.Dropped) > 0 {
		dst = append(dst, `,"dropped":[`...)
		for i, index := range res.Dropped {
			dst = comma(dst, i)
			dst = strconv.AppendInt(dst, int64(index), 10)
		}
		dst = append(dst, ']')
	}
	if len(res.Rejected) > 0 {
		dst = append(dst, `,"rejected":[`...)
		for i := range res.Rejected {
			dst = comma(dst, i)
			dst = appendRejected(dst, &res.Rejected[i])
		}
		dst = append(dst, ']')
	}
	if len(res.Routed) > 0 {
		dst = append(dst, `,"routed":[`...)
		for i := range res.Routed {
			dst = comma(dst, i)
			dst = appendRouted(dst, &res.Routed[i])
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

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
	dst = appendLoose(dst, r.Message)
	if r.Module != "" {
		dst = append(dst, `,"module":`...)
		dst = appendLoose(dst, r.Module)
	}
	return append(dst, '}')
}

func appendRouted(dst []byte, r *broker.RoutedRecord) []byte {
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendInt(dst, int64(r.Index), 10)
	dst = append(dst, `,"topic":`...)
	dst = appendLoose(dst, r.Topic)
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, r.Offset, 10)
	return append(dst, '}')
}
