package abi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/wasmill/wasmill/core/record"
)

func FuzzDecode(f *testing.F) {
	for _, c := range vectorCases() {
		mem, _, result := c.out.memory()
		f.Add(mem[vectorOutput:vectorOutput+2*vectorDataOff], result-vectorOutput<<32)
	}
	in := ordersInput()
	limits := Limits{MaxRecordBytes: 4 << 10, MaxHeaders: 8, MaxOutputBytes: 16 << 10}.WithDefaults()
	f.Fuzz(func(t *testing.T, mem []byte, result uint64) {
		before := bytes.Clone(mem)
		var arena Arena
		actions, err := Decode(mem, result, &in, limits, &arena, nil)
		if !bytes.Equal(mem, before) {
			t.Error("Decode wrote to the module's memory")
		}
		if err != nil {
			var failure *Failure
			if ruleName(err) == "failed" && !errors.As(err, &failure) {
				t.Errorf("%v is no rule and no failure", err)
			}
			return
		}
		if broken := checkActions(&in, limits, actions); broken != "" {
			t.Errorf("%s in %+v", broken, actions)
		}
	})
}

// checkActions says which rule a decoded list breaks. It looks at the list as a whole where Decode looks at
// one action after the other.
func checkActions(in *Input, limits Limits, actions []Action) string {
	named := make([][]Action, len(in.Records))
	total := 0
	last := int32(0)
	for _, a := range actions {
		if a.Index < last || int(a.Index) >= len(in.Records) {
			return "index"
		}
		last = a.Index
		named[a.Index] = append(named[a.Index], a)
		if a.Topic != "" && NameFault(a.Topic) != "" || a.Topic == in.Topic && (a.Partition == in.Partition || a.Partition == ByKey) {
			return "topic"
		}
		if a.Kind == Emit || a.Kind == Route {
			size := RecordSize(&a.Record, AllFields)
			if total += size; size > limits.MaxRecordBytes || len(a.Record.Headers) > limits.MaxHeaders {
				return "record limits"
			}
		}
		if !utf8.ValidString(a.Message) || len(a.Message) > 3*maxMessageLen {
			return "message"
		}
	}
	for _, list := range named {
		kept := 0
		for _, a := range list {
			switch {
			case a.Kind == Keep:
				kept++
			case a.Kind == Reject && len(list) > 1, a.Kind == Route && a.Topic == "":
				return "conflict"
			}
		}
		if kept > 1 || len(list) > limits.MaxActionsPerRecord {
			return "count"
		}
	}
	if total > limits.MaxOutputBytes {
		return "output limit"
	}
	return ""
}

// The check of the fuzz target notices lists that Decode must never return.
func TestCheckActionsNotices(t *testing.T) {
	in := ordersInput()
	keep, reject := Action{Kind: Keep}, Action{Kind: Reject}
	for want, list := range map[string][]Action{
		"index":         {{Kind: Keep, Index: 1}, keep},
		"count":         {keep, keep},
		"conflict":      {keep, reject},
		"topic":         {{Kind: Route, Topic: "a/b"}},
		"record limits": {{Kind: Emit, Record: record.Record{Value: make([]byte, 9<<20)}}},
	} {
		if got := checkActions(&in, DefaultLimits(), list); got != want {
			t.Errorf("%v: noticed %q, want %q", list, got, want)
		}
	}
}

// readInput reads an input as a guest would, trusting it.
func readInput(b []byte) Input {
	le := binary.LittleEndian
	text := func(off, size uint32) []byte {
		if size == null {
			return nil
		}
		return append([]byte{}, b[off:off+size]...)
	}
	in := Input{
		Partition: int32(le.Uint32(b[16:])), Place: Place(le.Uint32(b[20:])), BaseTimestamp: int64(le.Uint64(b[24:])),
		Topic: string(text(le.Uint32(b[32:]), le.Uint32(b[36:]))),
	}
	for i := range le.Uint32(b[8:]) {
		d := b[le.Uint32(b[0:])+i*le.Uint32(b[4:]):]
		r := record.Record{
			Key: text(le.Uint32(d[0:]), le.Uint32(d[4:])), Value: text(le.Uint32(d[8:]), le.Uint32(d[12:])),
			Timestamp: int64(le.Uint64(d[32:])), OffsetDelta: int32(le.Uint64(d[40:])),
		}
		h := text(le.Uint32(d[16:]), le.Uint32(d[20:]))
		for range le.Uint32(d[24:]) {
			keyLen, valueLen := le.Uint32(h), le.Uint32(h[4:])
			header := record.RecordHeader{Key: h[8 : 8+keyLen]}
			h = h[8+keyLen:]
			if valueLen != null {
				header.Value = h[:valueLen:valueLen]
				h = h[valueLen:]
			}
			r.Headers = append(r.Headers, header)
		}
		in.Records = append(in.Records, r)
	}
	return in
}

func drawBytes(t *rapid.T, name string) []byte {
	if rapid.Bool().Draw(t, name+" is null") {
		return nil
	}
	return append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, name)...)
}

func drawInput(t *rapid.T) Input {
	in := Input{
		Topic: rapid.StringMatching(`[a-z.]{1,20}`).Draw(t, "topic"), Partition: rapid.Int32Min(0).Draw(t, "partition"),
		Place: Place(rapid.IntRange(0, 2).Draw(t, "place")), BaseTimestamp: rapid.Int64().Draw(t, "base timestamp"),
	}
	for i := range rapid.IntRange(1, 10).Draw(t, "records") {
		r := record.Record{OffsetDelta: int32(i), Timestamp: rapid.Int64().Draw(t, "timestamp"), Key: drawBytes(t, "key"), Value: drawBytes(t, "value")}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, record.RecordHeader{Key: append([]byte{}, drawBytes(t, "header key")...), Value: drawBytes(t, "header value")})
		}
		in.Records = append(in.Records, r)
	}
	return in
}

func TestEncodeIsWhatAGuestReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		mask := Mask(rapid.IntRange(0, 15).Draw(t, "mask"))
		size, err := in.Size(mask)
		if err != nil {
			t.Fatal(err)
		}
		dst := bytes.Repeat([]byte{0xee}, size+8) // reused buffers hold what was there before
		if n := in.Encode(dst[:size], mask); n != size {
			t.Fatalf("Encode wrote %d bytes, Size said %d", n, size)
		}
		if !bytes.Equal(dst[size:], bytes.Repeat([]byte{0xee}, 8)) {
			t.Fatal("Encode wrote past its size")
		}
		for i := range in.Records { // what a guest with this mask must see
			r := &in.Records[i]
			if mask&FieldKey == 0 {
				r.Key = nil
			}
			if mask&FieldValue == 0 {
				r.Value = nil
			}
			if mask&FieldHeaders == 0 {
				r.Headers = nil
			}
			if mask&FieldTimestamp == 0 {
				r.Timestamp = 0
			}
		}
		got := readInput(dst[:size])
		if a, b := describe(&got), describe(&in); a != b {
			t.Fatalf("guest reads %s\nwant %s", a, b)
		}
	})
}

func describe(in *Input) string {
	raw, err := jsonText(batchJSON(in, 0))
	if err != nil {
		return err.Error()
	}
	return raw
}

func TestInputThatNoModuleCanHold(t *testing.T) {
	huge := make([]byte, 1<<20)
	in := Input{Topic: "t"}
	for range 2048 {
		in.Records = append(in.Records, record.Record{Value: huge})
	}
	if _, err := in.Size(FieldValue); !errors.Is(err, ErrInputTooLarge) {
		t.Errorf("got %v", err)
	}
	if n, err := in.Size(FieldKey); err != nil || n != 48+2048*48+1 {
		t.Errorf("without values: %d, %v", n, err)
	}
}

func TestDecodeAllocatesNothingInSteadyState(t *testing.T) {
	in := ordersInput()
	full := rawAction{kind: uint8(Emit), key: []byte("new"), value: []byte("made"), topic: "audit", headers: []record.RecordHeader{{Key: []byte("a"), Value: []byte("1")}}}
	mem, _, result := answers(full, act(Keep, 1), act(Keep, 2), act(Keep, 3)).memory()
	var arena Arena
	var actions []Action
	n := testing.AllocsPerRun(100, func() {
		arena.Reset()
		var err error
		if actions, err = Decode(mem, result, &in, DefaultLimits(), &arena, actions[:0]); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What was decoded before the arena had to grow stays as it was.
func TestArenaKeepsItsWord(t *testing.T) {
	var arena Arena
	var copies [][]byte
	for i := range 300 {
		copies = append(copies, arena.copy(bytes.Repeat([]byte{byte(i)}, 1000)))
	}
	for i, b := range copies {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, 1000)) {
			t.Fatalf("copy %d changed", i)
		}
		_ = append(b, 0xff) // must not reach its neighbour
	}
	if arena.Used() != 300_000 {
		t.Errorf("Used() = %d", arena.Used())
	}
	arena.copy(make([]byte, 2*arenaKeep))
	arena.Reset()
	if cap(arena.bytes) > arenaKeep {
		t.Errorf("Reset keeps %d bytes", cap(arena.bytes))
	}
}

func TestMessageIsCutAtACharacter(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{strings.Repeat("x", 2000), strings.Repeat("x", 1024)},
		{strings.Repeat("x", 1023) + "é", strings.Repeat("x", 1023)},
		{strings.Repeat("x", 1022) + "é!", strings.Repeat("x", 1022) + "é"},
		{"a\xffb", "a\uFFFDb"},
	} {
		if got := message([]byte(c.in)); got != c.want {
			t.Errorf("%.20q...: got %q", c.in, got)
		}
	}
}
