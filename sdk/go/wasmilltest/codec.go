package wasmilltest

import (
	"encoding/binary"
	"errors"
	"fmt"

	wasmill "github.com/wasmill/wasmill/sdk/go"
)

// The broker's side of ABI v1, small and strict: encode writes a batch as a broker does,
// call reads the actions and holds them to the rules.

const (
	headerSize     = 48
	descriptorSize = 48
	actionSize     = 64
	outputHeader   = 16
	null           = 0xFFFFFFFF
	inputAddress   = 1024
	maxActions     = 16 // per record

	flagPartition = 1
	flagTimestamp = 2
	inheritKey    = 4
	inheritValue  = 8
	inheritHeader = 16
)

var le = binary.LittleEndian

// encode writes one batch with the fields that the transform asks for.
func encode(r *Runner, records []Record) []byte {
	fields := r.instance.Fields()
	in := make([]byte, headerSize+descriptorSize*len(records))
	le.PutUint32(in[0:], headerSize)
	le.PutUint32(in[4:], descriptorSize)
	le.PutUint32(in[8:], uint32(len(records)))
	le.PutUint32(in[12:], uint32(fields))
	le.PutUint32(in[16:], uint32(r.partition))
	le.PutUint32(in[20:], uint32(r.place))
	le.PutUint64(in[24:], uint64(r.now))
	le.PutUint32(in[32:], uint32(len(in)))
	le.PutUint32(in[36:], uint32(len(r.topic)))
	in = append(in, r.topic...)
	part := func(at int, field wasmill.Fields, b []byte, isNull bool) {
		if fields&field == 0 || isNull {
			le.PutUint32(in[at+4:], null)
			return
		}
		if len(b) > 0 {
			le.PutUint32(in[at:], uint32(len(in)))
		}
		le.PutUint32(in[at+4:], uint32(len(b)))
		in = append(in, b...)
	}
	for i, record := range records {
		at := headerSize + descriptorSize*i
		part(at, wasmill.FieldKey, record.Key, record.Key == nil)
		part(at+8, wasmill.FieldValue, record.Value, record.Value == nil)
		part(at+16, wasmill.FieldHeaders, encodeHeaders(record.Headers), false)
		if fields&wasmill.FieldHeaders != 0 {
			le.PutUint32(in[at+24:], uint32(len(record.Headers)))
		}
		if fields&wasmill.FieldTimestamp != 0 {
			le.PutUint64(in[at+32:], uint64(record.Timestamp))
		}
		offset := int64(-1)
		if r.place != wasmill.PlaceWrite {
			offset = int64(i)
		}
		le.PutUint64(in[at+40:], uint64(offset))
	}
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

// call runs the transform over an encoded batch. A failed call is an error; an answer that
// breaks the ABI fails the test.
func (r *Runner) call(input []byte, records []Record) ([]Action, error) {
	r.t.Helper()
	result := r.instance.Process(input, inputAddress)
	m := &memory{instance: r.instance, input: input}
	failed := result>>63 != 0
	output := m.read(uint32(result>>32)&0x7FFFFFFF, uint32(result))
	if failed {
		return nil, errors.New(string(output))
	}
	actions := m.actions(r, output, records)
	if m.err != nil {
		r.t.Fatalf("the transform broke the ABI: %v", m.err)
	}
	return actions, nil
}

// memory reads what the guest's addresses mean, with the first breach of the ABI in err.
type memory struct {
	instance *wasmill.Instance
	input    []byte
	err      error
}

func (m *memory) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

// read returns a copy of n bytes at an address: in the input or in the guest's own memory.
func (m *memory) read(address, n uint32) []byte {
	if address >= inputAddress && uint64(address-inputAddress)+uint64(n) <= uint64(len(m.input)) {
		return append([]byte{}, m.input[address-inputAddress:][:n]...)
	}
	b, ok := m.instance.Memory(address, n)
	if !ok {
		m.fail("%d bytes at %d are outside of memory", n, address)
	}
	return append([]byte{}, b...)
}

func (m *memory) actions(r *Runner, output []byte, records []Record) []Action {
	if len(output) < outputHeader || le.Uint32(output) != outputHeader || le.Uint32(output[4:]) != actionSize {
		m.fail("bad output header")
		return nil
	}
	count := int(le.Uint32(output[8:]))
	if len(output) < outputHeader+count*actionSize || le.Uint32(output[12:]) != 0 {
		m.fail("%d actions do not fit in %d bytes", count, len(output))
		return nil
	}
	actions := make([]Action, count)
	for i := range actions {
		raw := output[outputHeader+i*actionSize:][:actionSize]
		index := int(le.Uint32(raw[4:]))
		if index >= len(records) {
			m.fail("action %d names record %d of %d", i, index, len(records))
			return nil
		}
		if i > 0 && index < actions[i-1].Index {
			m.fail("action %d goes back to record %d", i, index)
		}
		actions[i] = m.action(r, raw, index, records[index])
	}
	m.conflicts(actions)
	return actions
}

func (m *memory) action(r *Runner, raw []byte, index int, in Record) Action {
	a := Action{Kind: Kind(raw[0]), Index: index, Topic: r.topic, Partition: -1, Record: in}
	flags := raw[1]
	if a.Kind == Reject {
		a.Code = le.Uint16(raw[2:])
		a.Message = string(m.read(le.Uint32(raw[56:]), le.Uint32(raw[60:])))
		a.Record = Record{}
	}
	if a.Kind == Route || a.Kind == Emit {
		if n := le.Uint32(raw[12:]); n > 0 {
			a.Topic = string(m.read(le.Uint32(raw[8:]), n))
			m.topic(a.Topic)
		}
		if flags&flagPartition != 0 {
			a.Partition = int32(le.Uint32(raw[16:]))
			if a.Partition < 0 {
				m.fail("partition %d", a.Partition)
			}
		}
	}
	switch {
	case a.Kind < Keep || a.Kind > Reject:
		m.fail("unknown kind %d", a.Kind)
	case a.Kind == Emit:
		m.emission(&a.Record, raw, flags)
	case a.Kind == Route && a.Topic == r.topic && (a.Partition < 0 || a.Partition == r.partition):
		m.fail("record %d is routed to where it is", index)
	}
	return a
}

func (m *memory) emission(to *Record, raw []byte, flags byte) {
	part := func(at int) []byte {
		if n := le.Uint32(raw[at+4:]); n != null {
			return m.read(le.Uint32(raw[at:]), n)
		}
		return nil
	}
	if flags&inheritKey == 0 {
		to.Key = part(20)
	}
	if flags&inheritValue == 0 {
		to.Value = part(28)
	}
	if flags&inheritHeader == 0 {
		to.Headers = m.headers(part(36), le.Uint32(raw[44:]))
	}
	if flags&flagTimestamp != 0 {
		to.Timestamp = int64(le.Uint64(raw[48:]))
	}
}

func (m *memory) headers(b []byte, count uint32) []wasmill.Header {
	var headers []wasmill.Header
	for range count {
		if len(b) < 8 {
			m.fail("headers cut short")
			return nil
		}
		keyLen, valueLen := le.Uint32(b), le.Uint32(b[4:])
		isNull := valueLen == null
		if isNull {
			valueLen = 0
		}
		b = b[8:]
		if uint64(keyLen)+uint64(valueLen) > uint64(len(b)) {
			m.fail("headers cut short")
			return nil
		}
		h := wasmill.Header{Key: string(b[:keyLen])}
		if !isNull {
			h.Value = b[keyLen:][:valueLen:valueLen]
		}
		headers, b = append(headers, h), b[keyLen+valueLen:]
	}
	if len(b) > 0 {
		m.fail("%d bytes after the last header", len(b))
	}
	return headers
}

func (m *memory) topic(name string) {
	ok := len(name) <= 249 && name != "." && name != ".."
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		m.fail("%q is no topic name: 1 to 249 letters, digits, dots, dashes and underscores", name)
	}
}

// conflicts checks the actions that name the same record.
func (m *memory) conflicts(actions []Action) {
	for len(actions) > 0 {
		n := 1
		for n < len(actions) && actions[n].Index == actions[0].Index {
			n++
		}
		kept, rejected := 0, 0
		for _, a := range actions[:n] {
			switch a.Kind {
			case Keep:
				kept++
			case Reject:
				rejected++
			}
		}
		if kept > 1 || rejected > 0 && n > 1 || n > maxActions {
			m.fail("the %d actions for record %d are too many or contradict each other", n, actions[0].Index)
		}
		actions = actions[n:]
	}
}
