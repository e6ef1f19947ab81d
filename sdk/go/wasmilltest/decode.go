package wasmilltest

import (
	"fmt"

	wasmill "github.com/wasmill/wasmill/sdk/go"
)

// callFailed is what a transform failed a call with. Every other error of decode is a
// breach of the ABI.
type callFailed struct{ message string }

func (e *callFailed) Error() string { return e.message }

// decoder reads an output, with the first breach of the ABI in err.
type decoder struct {
	view    func(address, n uint32) ([]byte, bool) // the guest's memory
	call    call
	records []Record
	err     error
}

// decode reads what a call returned.
func decode(d decoder, result uint64) ([]Action, error) {
	output := d.read(uint32(result>>32)&0x7FFFFFFF, uint32(result))
	if result>>63 != 0 {
		return nil, &callFailed{string(output)}
	}
	actions := d.actions(output)
	for rest := actions; len(rest) > 0; {
		rest = d.conflicts(rest)
	}
	if d.err != nil {
		return nil, d.err
	}
	return actions, nil
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// read returns a copy of n bytes at an address.
func (d *decoder) read(address, n uint32) []byte {
	if n == 0 {
		return []byte{}
	}
	b, ok := d.view(address, n)
	if !ok {
		d.fail("%d bytes at %d are outside of memory", n, address)
	}
	return append([]byte{}, b...)
}

func (d *decoder) actions(output []byte) []Action {
	if len(output) < outputHeader || le.Uint32(output) != outputHeader || le.Uint32(output[4:]) != actionSize || le.Uint32(output[12:]) != 0 {
		d.fail("bad output header")
		return nil
	}
	count := uint64(le.Uint32(output[8:]))
	if uint64(len(output)) < outputHeader+count*actionSize {
		d.fail("%d actions do not fit in %d bytes", count, len(output))
		return nil
	}
	actions := make([]Action, 0, count)
	last := uint32(0)
	for raw := output[outputHeader:]; len(actions) < int(count); raw = raw[actionSize:] {
		index := le.Uint32(raw[4:])
		if uint64(index) >= uint64(len(d.records)) || index < last {
			d.fail("record %d named after record %d of %d", index, last, len(d.records))
			return nil
		}
		last = index
		actions = append(actions, d.action(raw[:actionSize], int(index)))
	}
	return actions
}

func (d *decoder) action(raw []byte, index int) Action {
	a := Action{Kind: Kind(raw[0]), Index: index, Topic: d.call.topic, Partition: -1, Record: d.records[index]}
	flags := raw[1]
	allowed := [...]byte{Keep: 0, Route: flagPartition, Emit: 31, Reject: 0}
	if a.Kind < Keep || a.Kind > Reject || flags&^allowed[a.Kind] != 0 {
		d.fail("kind %d with flags %d", a.Kind, flags)
		return a
	}
	switch a.Kind {
	case Reject:
		a.Code = le.Uint16(raw[2:])
		a.Message = string(d.read(le.Uint32(raw[56:]), le.Uint32(raw[60:])))
		a.Record = Record{}
	case Route:
		d.destination(&a, raw, flags)
		if a.Topic == d.call.topic && (a.Partition < 0 || a.Partition == d.call.partition) {
			d.fail("record %d is routed to where it is", index)
		}
	case Emit:
		d.destination(&a, raw, flags)
		d.emission(&a.Record, raw, flags)
	}
	return a
}

func (d *decoder) destination(a *Action, raw []byte, flags byte) {
	if n := le.Uint32(raw[12:]); n > 0 {
		a.Topic = string(d.read(le.Uint32(raw[8:]), n))
		d.topic(a.Topic)
	}
	if flags&flagPartition != 0 {
		a.Partition = int32(le.Uint32(raw[16:]))
		if a.Partition < 0 {
			d.fail("partition %d", a.Partition)
		}
	}
}

func (d *decoder) topic(name string) {
	ok := len(name) <= 249 && name != "." && name != ".."
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		d.fail("%q is no topic name: 1 to 249 letters, digits, dots, dashes and underscores", name)
	}
}

func (d *decoder) emission(to *Record, raw []byte, flags byte) {
	part := func(at int) []byte {
		if n := le.Uint32(raw[at+4:]); n != null {
			return d.read(le.Uint32(raw[at:]), n)
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
		to.Headers = d.headers(d.read(le.Uint32(raw[36:]), le.Uint32(raw[40:])), le.Uint32(raw[44:]))
	}
	if flags&flagTimestamp != 0 {
		to.Timestamp = int64(le.Uint64(raw[48:]))
	}
}

func (d *decoder) headers(b []byte, count uint32) []wasmill.Header {
	var headers []wasmill.Header
	for range count {
		if len(b) < 8 {
			d.fail("headers cut short")
			return nil
		}
		keyLen, valueLen := le.Uint32(b), le.Uint32(b[4:])
		isNull := valueLen == null
		if isNull {
			valueLen = 0
		}
		b = b[8:]
		if uint64(keyLen)+uint64(valueLen) > uint64(len(b)) {
			d.fail("headers cut short")
			return nil
		}
		h := wasmill.Header{Key: string(b[:keyLen])}
		if !isNull {
			h.Value = b[keyLen:][:valueLen:valueLen]
		}
		headers, b = append(headers, h), b[keyLen+valueLen:]
	}
	if len(b) > 0 {
		d.fail("%d bytes after the last header", len(b))
	}
	return headers
}

// conflicts checks the actions that name the first record, and returns those after them.
func (d *decoder) conflicts(actions []Action) (rest []Action) {
	index, n, kept, rejected := actions[0].Index, 0, 0, 0
	for ; n < len(actions) && actions[n].Index == index; n++ {
		switch actions[n].Kind {
		case Keep:
			kept++
		case Reject:
			rejected++
		}
	}
	if kept > 1 || rejected > 0 && n > 1 || n > maxActions {
		d.fail("the %d actions for record %d are too many or contradict each other", n, index)
	}
	return actions[n:]
}
