package abi

import (
	"encoding/binary"
	"fmt"

	"github.com/wasmill/wasmill/core/record"
)

// Action is one checked action. Its record's bytes belong to the arena or, where they are inherited, to
// the input.
type Action struct {
	Kind      Kind
	Code      uint16 // Reject
	Index     int32  // of the input record
	Partition int32  // Route, Emit: where to; ByKey
	Topic     string // Route, Emit: where to; empty means that an Emit stays in its topic and partition
	Message   string // Reject
	Record    record.Record
}

// Decode checks a module's answer and appends its actions to dst. mem is the module's whole memory, which
// is only read; result is what wasmill_process_v1 returned; in is what the module was given. limits must
// have all fields set. Records are copied into arena. On an error no action may be used.
func Decode(mem []byte, result uint64, in *Input, limits Limits, arena *Arena, dst []Action) ([]Action, error) {
	if result&failedBit != 0 {
		return dst, failure(mem, result)
	}
	ptr, size := uint32(result>>32), uint32(result)
	block, ok := view(mem, ptr, size)
	if !ok {
		return dst, fmt.Errorf("output of %d bytes at %#x, memory is %d bytes: %w", size, ptr, len(mem), ErrBounds)
	}
	count, err := checkOutputHeader(block)
	if err != nil {
		return dst, err
	}
	d := decoder{mem: mem, in: in, limits: limits, arena: arena, last: -1}
	for i := range count {
		a, err := d.action(block[outputHeaderSize+i*actionSize:][:actionSize])
		if err != nil {
			return dst, fmt.Errorf("action %d of %d: %w", i, count, err)
		}
		dst = append(dst, a)
	}
	return dst, nil
}

func failure(mem []byte, result uint64) error {
	b, ok := view(mem, uint32(result>>32)&^(1<<31), uint32(result))
	if !ok {
		return &Failure{Message: "(its message is out of bounds)"}
	}
	return &Failure{Message: message(b)}
}

// checkOutputHeader returns the number of actions, which all lie inside block.
func checkOutputHeader(block []byte) (int, error) {
	if len(block) < outputHeaderSize {
		return 0, fmt.Errorf("output of %d bytes, its header has %d: %w", len(block), outputHeaderSize, ErrMalformed)
	}
	le := binary.LittleEndian
	header, step, count, reserved := le.Uint32(block), le.Uint32(block[4:]), le.Uint32(block[8:]), le.Uint32(block[12:])
	if header != outputHeaderSize || step != actionSize || reserved != 0 {
		return 0, fmt.Errorf("output header: header_size %d, action_size %d, reserved %d instead of %d, %d, 0: %w",
			header, step, reserved, outputHeaderSize, actionSize, ErrMalformed)
	}
	if uint64(count) > uint64(len(block)-outputHeaderSize)/actionSize {
		return 0, fmt.Errorf("%d actions in an output of %d bytes: %w", count, len(block), ErrMalformed)
	}
	return int(count), nil
}

// view returns mem[ptr:ptr+size]. An empty range is inside at any address.
func view(mem []byte, ptr, size uint32) ([]byte, bool) {
	if size == 0 {
		return nil, true
	}
	if uint64(ptr)+uint64(size) > uint64(len(mem)) {
		return nil, false
	}
	return mem[ptr : uint64(ptr)+uint64(size)], true
}

// decoder holds what the rules about neighbouring actions need to know.
type decoder struct {
	mem    []byte
	in     *Input
	limits Limits
	arena  *Arena

	last     int64 // record of the action before
	named    int   // actions that named it
	kept     bool
	rejected bool
	bytes    int // emitted and routed so far
}

func (d *decoder) action(b []byte) (Action, error) {
	le := binary.LittleEndian
	kind, flags, index := Kind(b[0]), b[1], le.Uint32(b[4:])
	if err := d.sequence(kind, index); err != nil {
		return Action{}, err
	}
	a := Action{Kind: kind, Index: int32(index), Partition: ByKey}
	var err error
	switch kind {
	case Keep:
		err = d.flags(kind, flags, 0)
	case Route:
		if err = d.flags(kind, flags, flagPartition); err == nil {
			err = d.route(&a, b)
		}
	case Emit:
		if err = d.flags(kind, flags, emitFlags); err == nil {
			err = d.emit(&a, b)
		}
	case Reject:
		if err = d.flags(kind, flags, 0); err == nil {
			err = d.reject(&a, b)
		}
	default:
		err = fmt.Errorf("kind %d is not known: %w", kind, ErrMalformed)
	}
	return a, err
}

// sequence checks an action against those before it.
func (d *decoder) sequence(kind Kind, index uint32) error {
	if uint64(index) >= uint64(len(d.in.Records)) {
		return fmt.Errorf("names record %d of %d: %w", index, len(d.in.Records), ErrBounds)
	}
	switch {
	case int64(index) < d.last:
		return fmt.Errorf("names record %d after record %d: %w", index, d.last, ErrOrder)
	case int64(index) > d.last:
		d.last, d.named, d.kept, d.rejected = int64(index), 0, false, false
	}
	d.named++
	switch {
	case d.named > d.limits.MaxActionsPerRecord:
		return fmt.Errorf("more than %d actions for record %d: %w", d.limits.MaxActionsPerRecord, index, ErrLimit)
	case d.rejected, kind == Reject && d.named > 1:
		return fmt.Errorf("record %d is rejected and also named by another action: %w", index, ErrConflict)
	case kind == Keep && d.kept:
		return fmt.Errorf("record %d is kept twice: %w", index, ErrConflict)
	}
	d.kept = d.kept || kind == Keep
	d.rejected = kind == Reject
	return nil
}

func (d *decoder) flags(kind Kind, flags, allowed uint8) error {
	if flags&^allowed != 0 {
		return fmt.Errorf("%v with flags %#x: %w", kind, flags, ErrMalformed)
	}
	return nil
}

// destination reads topic and partition. A destination that is the topic and partition being processed
// comes out as an empty topic.
func (d *decoder) destination(a *Action, b []byte) error {
	le := binary.LittleEndian
	name, ok := view(d.mem, le.Uint32(b[8:]), le.Uint32(b[12:]))
	if !ok {
		return fmt.Errorf("topic name: %w", ErrBounds)
	}
	if len(name) > 0 && NameFault(name) != "" {
		return fmt.Errorf("topic %.260q: %w", name, ErrTopic)
	}
	if b[1]&flagPartition != 0 {
		if a.Partition = int32(le.Uint32(b[16:])); a.Partition < 0 {
			return fmt.Errorf("partition %d: %w", a.Partition, ErrMalformed)
		}
	}
	here := len(name) == 0 || string(name) == d.in.Topic
	switch {
	case here && (a.Partition == ByKey || a.Partition == d.in.Partition):
		a.Partition = ByKey
	case here:
		a.Topic = d.in.Topic
	default:
		a.Topic = d.arena.topic(name)
	}
	return nil
}

func (d *decoder) route(a *Action, b []byte) error {
	if err := d.destination(a, b); err != nil {
		return err
	}
	if a.Topic == "" {
		return fmt.Errorf("record %d is routed to where it is, keep it instead: %w", a.Index, ErrConflict)
	}
	a.Record = d.in.Records[a.Index]
	return d.account(&a.Record)
}

func (d *decoder) reject(a *Action, b []byte) error {
	le := binary.LittleEndian
	text, ok := view(d.mem, le.Uint32(b[56:]), le.Uint32(b[60:]))
	if !ok {
		return fmt.Errorf("message: %w", ErrBounds)
	}
	a.Code = le.Uint16(b[2:])
	a.Message = message(text)
	return nil
}
