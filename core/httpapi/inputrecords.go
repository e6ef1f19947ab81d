package httpapi

import (
	"sync"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/recordjson"
)

// inputRecords are the records of a JSON body. Their bytes alias it.
type inputRecords struct {
	reader  recordjson.Reader
	records []broker.InputRecord
	add     func(record.Record, int32) // the reader's Record, made once and kept with the slices
}

var inputRecordsPool = sync.Pool{New: func() any {
	in := &inputRecords{}
	in.add = func(r record.Record, partition int32) {
		in.records = append(in.records, broker.InputRecord{Record: r, Partition: partition})
	}
	return in
}}

// keptRecords is the longest slice of records that is kept for the next request.
const keptRecords = 1 << 13

// newRecords makes ready to read a body whose records go to partition unless they name one.
func (c *call) newRecords(partition int32) *inputRecords {
	in := inputRecordsPool.Get().(*inputRecords)
	in.reader.Record = in.add
	in.reader.MaxRecords, in.reader.Partition = c.s.opts.MaxRecords, partition
	in.reader.Now = c.s.opts.Now().UnixMilli()
	return in
}

// recycle forgets the body and gives the slices back.
func (in *inputRecords) recycle() {
	in.reader.Release()
	if cap(in.records) > keptRecords {
		in.records = nil
	}
	clear(in.records)
	in.records = in.records[:0]
	inputRecordsPool.Put(in)
}
