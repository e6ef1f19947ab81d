package wasmilltest

import (
	"encoding/binary"

	wasmill "github.com/wasmill/wasmill/sdk/go"
)

// The broker's side of ABI v1, small and strict: encode writes a batch as a broker does,
// decode reads the actions and holds them to the rules.

const (
	headerSize     = 48
	descriptorSize = 48
	actionSize     = 64
	outputHeader   = 16
	null           = 0xFFFFFFFF
	maxActions     = 16 // per record

	flagPartition = 1
	flagTimestamp = 2
	inheritKey    = 4
	inheritValue  = 8
	inheritHeader = 16
)

var le = binary.LittleEndian

// call is what a broker says about a batch besides its records.
type call struct {
	topic     string
	partition int32
	place     wasmill.Place
	now       int64
	fields    wasmill.Fields
}

// encode writes one batch with the fields that the transform asks for.
func encode(c call, records []Record) []byte {
	in := make([]byte, headerSize+descriptorSize*len(records))
	le.PutUint32(in[0:], headerSize)
	le.PutUint32(in[4:], descriptorSize)
	le.PutUint32(in[8:], uint32(len(records)))
	le.PutUint32(in[12:], uint32(c.fields))
	le.PutUint32(in[16:], uint32(c.partition))
	le.PutUint32(in[20:], uint32(c.place))
	le.PutUint64(in[24:], uint64(c.now))
	le.PutUint32(in[32:], uint32(len(in)))
	le.PutUint32(in[36:], uint32(len(c.topic)))
	in = append(in, c.topic...)
	for i, record := range records {
		in = encodeRecord(in, headerSize+descriptorSize*i, c, record)
	}
	return in
}

// encodeRecord fills the descriptor at in[at:] and appends what it describes.
func encodeRecord(in []byte, at int, c call, record Record) []byte {
	part := func(at int, field wasmill.Fields, b []byte, isNull bool) {
		if c.fields&field == 0 || isNull {
			le.PutUint32(in[at+4:], null)
			return
		}
		if len(b) > 0 {
			le.PutUint32(in[at:], uint32(len(in)))
		}
		le.PutUint32(in[at+4:], uint32(len(b)))
		in = append(in, b...)
	}
	part(at, wasmill.FieldKey, record.Key, record.Key == nil)
	part(at+8, wasmill.FieldValue, record.Value, record.Value == nil)
	part(at+16, wasmill.FieldHeaders, encodeHeaders(record.Headers), false)
	if c.fields&wasmill.FieldHeaders != 0 {
		le.PutUint32(in[at+24:], uint32(len(record.Headers)))
	}
	if c.fields&wasmill.FieldTimestamp != 0 {
		le.PutUint64(in[at+32:], uint64(record.Timestamp))
	}
	offset := record.Offset
	if c.place == wasmill.PlaceWrite {
		offset = -1
	}
	le.PutUint64(in[at+40:], uint64(offset))
	return in
}

func encodeHeaders(headers []wasmill.Header) []byte {
	var b []byte
	for _, h := range headers {
		b = le.AppendUint32(b, uint32(len(h.Key)))
		n := uint32(len(h.Value))
		if h.Value == nil {
			n = null
		}
		b = le.AppendUint32(b, n)
		b = append(append(b, h.Key...), h.Value...)
	}
	return b
}
