package abi

import (
	"bytes"
	"encoding/binary"

	"github.com/wasmill/wasmill/core/record"
)

func exampleInput() Input {
	return Input{Topic: "t", BaseTimestamp: 1000, BaseOffset: -1, Records: []record.Record{
		{Key: []byte("k"), Value: []byte("hi"), Timestamp: 1000},
	}}
}

func ordersInput() Input {
	return Input{
		Topic: "orders", Partition: 3, Place: PlaceView, BaseTimestamp: 1_700_000_000_000, BaseOffset: 500,
		Records: []record.Record{
			{OffsetDelta: 0, Timestamp: 1_700_000_000_000, Key: []byte("k0"), Value: []byte(`{"id":0}`), Headers: []record.RecordHeader{
				{Key: []byte("trace"), Value: []byte("abc")}, {Key: []byte("empty"), Value: []byte{}}, {Key: []byte("null")},
			}},
			{OffsetDelta: 1, Timestamp: 1_700_000_000_001, Value: []byte(`{"id":1}`)},
			{OffsetDelta: 4, Timestamp: 1_700_000_000_002, Key: []byte{}, Value: nil},
			{OffsetDelta: 5, Timestamp: -1, Key: []byte{0xff, 0x00}, Value: []byte{}},
		},
	}
}

func vectorCases() []vectorCase {
	cases := append(meaningCases(), maskCases()...)
	cases = append(cases, brokenBlockCases()...)
	return append(cases, brokenActionCases()...)
}

func act(kind Kind, index uint32) rawAction { return rawAction{kind: uint8(kind), record: index} }

func answers(actions ...rawAction) *answer {
	a := &answer{}
	for _, r := range actions {
		a.add(r)
	}
	return a
}

func meaningCases() []vectorCase {
	pointIntoInput := rawAction{kind: uint8(Emit), flags: flagInheritKey | flagInheritHeaders, value: []byte{}, patch: func(b []byte) {
		binary.LittleEndian.PutUint32(b[28:], vectorInput+97)
		binary.LittleEndian.PutUint32(b[32:], 1)
	}}
	full := rawAction{
		kind: uint8(Emit), flags: flagTimestamp, record: 1, key: []byte("new"), value: []byte("made"), timestamp: 42,
		headers: []record.RecordHeader{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b")}, {Key: []byte{}, Value: []byte{}}},
	}
	return []vectorCase{
		{"worked-example", "the example of section 6", exampleInput(), FieldKey | FieldValue, answers(pointIntoInput), nil},
		{"identity", "every record is kept", ordersInput(), AllFields, answers(act(Keep, 0), act(Keep, 1), act(Keep, 2), act(Keep, 3)), nil},
		{"filter", "records 1 and 3 are dropped because nothing names them", ordersInput(), FieldValue, answers(act(Keep, 0), act(Keep, 2)), nil},
		{"drop-all", "no actions", ordersInput(), FieldKey, answers(), nil},
		{"emit", "a record made from nothing, one with null key and value, one that inherits everything", ordersInput(), AllFields, answers(
			full, act(Emit, 2), rawAction{kind: uint8(Emit), record: 3, flags: flagInheritKey | flagInheritValue | flagInheritHeaders}), nil},
		{"fan-out", "one record becomes three in this topic", ordersInput(), AllFields, answers(
			act(Keep, 0), rawAction{kind: uint8(Emit), value: []byte("second")}, rawAction{kind: uint8(Emit), value: []byte("third"), topic: "orders"}), nil},
		{"route", "to another topic by key, to a partition of it, and to another partition of this topic", ordersInput(), FieldKey, answers(
			rawAction{kind: uint8(Route), topic: "audit"},
			rawAction{kind: uint8(Route), record: 1, topic: "audit", flags: flagPartition, partition: 7},
			rawAction{kind: uint8(Route), record: 2, flags: flagPartition, partition: 4},
			act(Keep, 3), rawAction{kind: uint8(Route), record: 3, topic: "copy.of-3_"}), nil},
		{"emit-elsewhere", "new records in another topic", ordersInput(), AllFields, answers(
			rawAction{kind: uint8(Emit), topic: "audit", key: []byte("k"), value: []byte("v")},
			rawAction{kind: uint8(Emit), topic: "audit", flags: flagPartition | flagInheritValue, partition: 0, record: 1}), nil},
		{"reject", "with and without a message", ordersInput(), AllFields, answers(
			rawAction{kind: uint8(Reject), code: 422, message: "no price in «orders»"}, act(Reject, 1), act(Keep, 2)), nil},
		{"long-output", "the length may be larger than header and actions", ordersInput(), AllFields,
			&answer{actions: answers(act(Keep, 1)).actions, resize: func(n int) int { return n + 100 }}, nil},
	}
}

func maskCases() []vectorCase {
	write := ordersInput()
	write.Place, write.BaseOffset = PlaceWrite, -1
	derivation := ordersInput()
	derivation.Place = PlaceDerivation
	derivation.Records[1].OffsetDelta = -1 // made by an earlier stage
	keep := func() *answer { return answers(act(Keep, 0)) }
	return []vectorCase{
		{"input-write", "offsets are not known before the append", write, AllFields, keep(), nil},
		{"input-derivation", "a record that an earlier stage made has no offset", derivation, AllFields, keep(), nil},
		{"input-no-fields", "a module that reads nothing", ordersInput(), 0, keep(), nil},
		{"input-headers", "headers alone", ordersInput(), FieldHeaders, keep(), nil},
		{"input-timestamp", "timestamps alone", ordersInput(), FieldTimestamp, keep(), nil},
	}
}

func brokenBlockCases() []vectorCase {
	set := func(at int, v uint32) *answer {
		return &answer{actions: answers(act(Keep, 0)).actions, mangle: func(block []byte) { binary.LittleEndian.PutUint32(block[at:], v) }}
	}
	length := func(n int) *answer {
		return &answer{actions: answers(act(Keep, 0)).actions, resize: func(int) int { return n }}
	}
	failed := &answer{data: []byte("cannot parse the config"), result: failedBit | uint64(vectorOutput+vectorDataOff)<<32 | 23}
	in := ordersInput()
	return []vectorCase{
		{"bad-header-size", "", in, AllFields, set(0, 20), ErrMalformed},
		{"bad-action-size", "", in, AllFields, set(4, 60), ErrMalformed},
		{"bad-reserved", "", in, AllFields, set(12, 1), ErrMalformed},
		{"bad-action-count", "more actions than the output has room for", in, AllFields, set(8, 2), ErrMalformed},
		{"bad-action-count-huge", "", in, AllFields, set(8, 0xffffffff), ErrMalformed},
		{"bad-length-short", "", in, AllFields, length(outputHeaderSize - 1), ErrMalformed},
		{"bad-length-long", "the output ends past the memory", in, AllFields, length(vectorMemory), ErrBounds},
		{"bad-result-zero", "", in, AllFields, &answer{result: 1 << 32}, ErrMalformed},
		{"bad-result-address", "", in, AllFields, &answer{result: 0x7fffffff_00000010}, ErrBounds},
		{"failed", "bit 63", in, AllFields, failed, &Failure{Message: "cannot parse the config"}},
		{"failed-out-of-bounds", "bit 63 with a message that is not there", in, AllFields,
			&answer{result: failedBit | 0x7fffffff<<32 | 9}, &Failure{Message: "(its message is out of bounds)"}},
	}
}

func brokenActionCases() []vectorCase {
	in := ordersInput()
	patched := func(r rawAction, at int, v uint32) *answer {
		r.patch = func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) }
		return answers(r)
	}
	many := make([]rawAction, 17)
	for i := range many {
		many[i] = rawAction{kind: uint8(Emit), value: []byte("x")}
	}
	headers := []record.RecordHeader{{Key: []byte("a"), Value: []byte("1")}}
	withHeaders := rawAction{kind: uint8(Emit), headers: headers}
	elsewhere := rawAction{kind: uint8(Route), topic: "audit"}
	return []vectorCase{
		{"bad-kind", "", in, AllFields, answers(act(5, 0)), ErrMalformed},
		{"bad-kind-zero", "", in, AllFields, answers(act(0, 0)), ErrMalformed},
		{"bad-flags", "a flag that is not known", in, AllFields, answers(rawAction{kind: uint8(Emit), flags: 32}), ErrMalformed},
		{"bad-flags-keep", "a flag that does not go with the kind", in, AllFields, answers(rawAction{kind: uint8(Keep), flags: flagPartition}), ErrMalformed},
		{"bad-record", "", in, AllFields, answers(act(Keep, 4)), ErrBounds},
		{"bad-order", "", in, AllFields, answers(act(Keep, 1), act(Keep, 0)), ErrOrder},
		{"bad-keep-twice", "", in, AllFields, answers(act(Keep, 1), act(Keep, 1)), ErrConflict},
		{"bad-keep-and-reject", "", in, AllFields, answers(act(Keep, 1), act(Reject, 1)), ErrConflict},
		{"bad-reject-and-emit", "", in, AllFields, answers(act(Reject, 1), act(Emit, 1)), ErrConflict},
		{"bad-route-home", "", in, AllFields, answers(rawAction{kind: uint8(Route), topic: "orders"}), ErrConflict},
		{"bad-route-nowhere", "", in, AllFields, answers(act(Route, 0)), ErrConflict},
		{"bad-too-many", "17 actions for one record", in, AllFields, answers(many...), ErrLimit},
		{"bad-topic", "", in, AllFields, answers(rawAction{kind: uint8(Route), topic: "a/b"}), ErrTopic},
		{"bad-topic-dots", "", in, AllFields, answers(rawAction{kind: uint8(Route), topic: ".."}), ErrTopic},
		{"bad-topic-long", "", in, AllFields, answers(rawAction{kind: uint8(Route), topic: string(bytes.Repeat([]byte("a"), 250))}), ErrTopic},
		{"bad-topic-bounds", "", in, AllFields, patched(elsewhere, 8, vectorMemory), ErrBounds},
		{"bad-partition", "", in, AllFields, answers(rawAction{kind: uint8(Route), topic: "audit", flags: flagPartition, partition: -2}), ErrMalformed},
		{"bad-key-bounds", "", in, AllFields, patched(rawAction{kind: uint8(Emit), key: []byte("k")}, 20, vectorMemory), ErrBounds},
		{"bad-value-wraps", "address plus length is past 32 bits", in, AllFields, patched(rawAction{kind: uint8(Emit), value: []byte("0123456789abcdef")}, 28, 0xfffffff8), ErrBounds},
		{"bad-headers-bounds", "", in, AllFields, patched(withHeaders, 36, vectorMemory-4), ErrBounds},
		{"bad-headers-count", "more headers than bytes for them", in, AllFields, patched(withHeaders, 44, 2), ErrMalformed},
		{"bad-headers-left-over", "bytes without a header", in, AllFields, patched(withHeaders, 44, 0), ErrMalformed},
		{"bad-message-bounds", "", in, AllFields, patched(rawAction{kind: uint8(Reject), message: "m"}, 60, 0x7fffffff), ErrBounds},
	}
}
