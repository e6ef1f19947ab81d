package wasmill

import "unsafe"

// Output takes the decisions about the record that the handler was called for. Decisions may
// be combined: a record can be kept in its topic and routed to another, with changes in
// between, up to 16 decisions for one record. A record without any decision is dropped.
type Output struct {
	space  *space
	batch  *Batch
	record *Record
	arena  arena

	// list holds the actions of the whole batch. The last 16 bytes of its first slot are the
	// header of the output, so that header and actions lie back to back without a copy.
	list     []action
	listBase uint32
	listCap  int // capacity of list when listBase was taken

	first    int  // length of list when the current record began
	kept     bool // the record was passed on in its own topic
	rejected bool

	topic     string // the topic that was written last
	topicBase uint32
}

// Emission is a record that did not exist before. A nil Key or Value is null.
type Emission struct {
	Topic     string // empty: the topic being processed
	Key       []byte
	Value     []byte
	Headers   []Header
	Timestamp int64 // milliseconds since 1970; 0: that of the record being processed
}

// Keep passes the record on in its topic, with the changes made to it. A second call
// changes nothing.
func (o *Output) Keep() {
	if o.rejected || o.kept {
		return
	}
	o.kept = true
	if o.record.changed == 0 {
		o.add(actionKeep)
		return
	}
	o.changed()
}

// Drop revokes all decisions about the record: it is left out without an error.
func (o *Output) Drop() {
	if o.rejected {
		return
	}
	o.list, o.kept = o.list[:o.first], false
}

// Reject refuses the record: on write, the producer gets its index, the code, which is
// the module's own, and the message. What else was or will be decided about it is void.
func (o *Output) Reject(code uint16, message string) {
	if o.rejected {
		return
	}
	o.Drop()
	o.rejected = true
	a := o.add(actionReject)
	a.code = code
	a.messagePtr, a.messageLen = o.arena.copy(octets(message)), uint32(len(message))
}

// Route passes the record, with the changes made to it, on to another topic, where its key
// decides the partition. Routing to the topic being processed is keeping.
func (o *Output) Route(topic string) {
	if o.own(topic) {
		o.Keep()
		return
	}
	if a := o.route(); a != nil {
		a.topicPtr, a.topicLen = o.topicAddress(topic), uint32(len(topic))
	}
}

// RouteTo passes the record on to a given partition, of another topic or of this one.
func (o *Output) RouteTo(topic string, partition int32) {
	if o.own(topic) && partition == o.batch.Partition() {
		o.Keep()
		return
	}
	if a := o.route(); a != nil {
		if !o.own(topic) {
			a.topicPtr, a.topicLen = o.topicAddress(topic), uint32(len(topic))
		}
		a.flags, a.partition = a.flags|flagPartition, partition
	}
}

// route adds the record with its changes, or returns nil when it is rejected.
func (o *Output) route() *action {
	if o.rejected {
		return nil
	}
	if o.record.changed == 0 {
		return o.add(actionRoute)
	}
	return o.changed()
}

// own reports whether topic means the one being processed.
func (o *Output) own(topic string) bool { return topic == "" || topic == o.batch.Topic() }

// Emit adds a record. In the topic being processed, the first one replaces the record
// unless that is kept; further ones follow at the end of the batch. In another
// topic the key decides the partition.
func (o *Output) Emit(e Emission) { o.emit(e, 0, 0) }

// EmitTo is Emit to a given partition.
func (o *Output) EmitTo(partition int32, e Emission) { o.emit(e, flagPartition, partition) }

func (o *Output) emit(e Emission, flags uint8, partition int32) {
	if o.rejected {
		return
	}
	if e.Timestamp != 0 {
		flags |= flagTimestamp
	}
	a := o.add(actionEmit)
	a.flags, a.partition, a.timestamp = flags, partition, e.Timestamp
	if !o.own(e.Topic) {
		a.topicPtr, a.topicLen = o.topicAddress(e.Topic), uint32(len(e.Topic))
	}
	a.keyPtr, a.keyLen = o.bytes(e.Key)
	a.valuePtr, a.valueLen = o.bytes(e.Value)
	o.setHeaders(a, e.Headers)
}

// changed adds an EMIT of the record with its changes; the rest is inherited, so it never
// has to cross into the guest.
func (o *Output) changed() *action {
	r := o.record
	a := o.add(actionEmit)
	a.flags = flagInheritKey | flagInheritValue | flagInheritHeaders
	if r.changed&FieldKey != 0 {
		a.flags &^= flagInheritKey
		a.keyPtr, a.keyLen = o.bytes(r.key)
	}
	if r.changed&FieldValue != 0 {
		a.flags &^= flagInheritValue
		a.valuePtr, a.valueLen = o.bytes(r.value)
	}
	if r.changed&FieldHeaders != 0 {
		a.flags &^= flagInheritHeaders
		o.setHeaders(a, r.headers)
	}
	if r.changed&FieldTimestamp != 0 {
		a.flags |= flagTimestamp
		a.timestamp = r.timestamp
	}
	return a
}

func (o *Output) setHeaders(a *action, headers []Header) {
	if len(headers) == 0 {
		return
	}
	buf, address := o.arena.take(headersSize(headers))
	appendHeaders(buf[:0], headers)
	a.headersPtr, a.headersLen, a.headersCount = address, uint32(len(buf)), uint32(len(headers))
}

// bytes returns the address of b, copied unless it lies in the input.
func (o *Output) bytes(b []byte) (address, length uint32) {
	if b == nil {
		return 0, nullLength
	}
	if offset, ok := within(o.batch.in, b); ok {
		return o.batch.base + offset, uint32(len(b))
	}
	if len(b) == 0 {
		return o.batch.base, 0
	}
	return o.arena.copy(b), uint32(len(b))
}

// topicAddress copies a topic's name once for a run of records that go there.
func (o *Output) topicAddress(topic string) uint32 {
	if topic != o.topic {
		buf, address := o.arena.take(len(topic))
		copy(buf, topic)
		o.topic, o.topicBase = text(buf), address
	}
	return o.topicBase
}

// start readies the output for a batch.
func (o *Output) start(b *Batch) {
	o.batch, o.topic = b, ""
	o.arena.reset()
	if need := b.Len() + 1; cap(o.list) < need {
		o.list = make([]action, 1, need)
	}
	o.list = o.list[:1]
	o.first = 1
}

func (o *Output) begin(r *Record) {
	o.record, o.first, o.kept, o.rejected = r, len(o.list), false, false
}

func (o *Output) add(kind actionKind) *action {
	o.list = append(o.list, action{kind: kind, record: uint32(o.record.index)})
	return &o.list[len(o.list)-1]
}

// finish writes the header and returns the address and length of the output.
func (o *Output) finish() (address, length uint32) {
	count := len(o.list) - 1
	o.list[0] = action{
		timestamp:  outputHeaderSize | actionSize<<32, // header_size, action_size
		messagePtr: uint32(count),                     // action_count
	}
	if cap(o.list) != o.listCap {
		if o.listCap != 0 {
			o.space.release(o.listBase)
		}
		whole := o.list[:cap(o.list)]
		o.listBase = o.space.place(unsafe.Slice((*byte)(unsafe.Pointer(&whole[0])), len(whole)*actionSize))
		o.listCap = cap(o.list)
	}
	return o.listBase + actionSize - outputHeaderSize, uint32(outputHeaderSize + count*actionSize)
}
