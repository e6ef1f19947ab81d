package pipeline

import (
	"slices"
	"strconv"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
)

// The headers of a dead letter, after the record's own.
const (
	HeaderCode      = "wasmill.error.code"    // the module's number, 0 when it failed
	HeaderMessage   = "wasmill.error.message" // why
	HeaderStage     = "wasmill.stage"         // index of the stage, from 0
	HeaderModule    = "wasmill.module"        // name@version
	HeaderTopic     = "wasmill.topic"         // where the record came from
	HeaderPartition = "wasmill.partition"
	HeaderOffset    = "wasmill.offset" // of its source; -1 on write, where none was given yet
)

// maxOwnHeaders keeps a dead letter with all its headers within a record's limit.
const maxOwnHeaders = 1000

// reject handles a REJECT of record i by the module.
func (r *run) reject(i int, code uint16, message string) {
	if r.current.policy == abi.OnErrorDeadLetter {
		r.outcome.In++
		r.deadLetter(i, code, message)
		return
	}
	r.outcome.In++
	r.refuseRecord(i, code, message)
}

// fail applies the stage's on_error to record i.
func (r *run) fail(i int, code uint16, message string) {
	r.outcome.In++
	r.outcome.Failed++
	switch r.current.policy {
	case abi.OnErrorSkip:
		r.outcome.Kept++
		r.note(i, code, message)
		r.leave(i, r.from.records[i], r.isIntact(i))
	case abi.OnErrorDrop:
		r.outcome.Dropped++
		r.note(i, code, message)
	case abi.OnErrorDeadLetter:
		r.deadLetter(i, code, message)
	default:
		r.refuseRecord(i, code, message)
	}
}

// refuseRecord rejects record i's source. Outside of a write pipeline, where no producer waits, it is dropped.
func (r *run) refuseRecord(i int, code uint16, message string) {
	r.note(i, code, message)
	if r.pipeline.place != abi.PlaceWrite {
		r.outcome.Dropped++
		return
	}
	r.outcome.Rejected++
	v := &r.out.Verdicts[r.source(i)]
	if v.Kind == Rejected {
		return // the first rejection is the one that is reported
	}
	*v = Verdict{Kind: Rejected, Code: code, Message: message, Stage: r.current.index}
}

// deadLetter routes record i as the stage got it: earlier stages may have removed what must not be seen.
func (r *run) deadLetter(i int, code uint16, message string) {
	s := r.current
	if r.in.Resolve != nil {
		if err := r.in.Resolve(s.dead, abi.ByKey); err != nil {
			r.refuseRecord(i, code, message+" (and the dead-letter topic: "+err.Error()+")")
			return
		}
	}
	r.outcome.Routed++
	r.note(i, code, message)
	source := r.source(i)
	offset := int64(-1)
	if r.in.BaseOffset >= 0 {
		offset = r.in.BaseOffset + int64(r.in.Records[source].OffsetDelta)
	}
	letter := r.from.records[i]
	own := letter.Headers[:min(len(letter.Headers), maxOwnHeaders)]
	letter.Headers = slices.Concat(own, []record.RecordHeader{
		header(HeaderCode, strconv.Itoa(int(code))), header(HeaderMessage, message),
		header(HeaderStage, strconv.Itoa(s.index)), header(HeaderModule, s.label),
		header(HeaderTopic, r.in.Topic), header(HeaderPartition, strconv.Itoa(int(r.in.Partition))),
		header(HeaderOffset, strconv.FormatInt(offset, 10)),
	})
	r.out.Routed = append(r.out.Routed, Emitted{Record: letter, Source: source, Topic: s.dead, Partition: abi.ByKey})
}

func header(key, value string) record.RecordHeader {
	return record.RecordHeader{Key: []byte(key), Value: []byte(value)}
}
