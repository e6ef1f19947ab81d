package wasmilltest

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"

	wasmill "github.com/wasmill/wasmill/sdk/go"
)

// bytesOrNull is hexadecimal text, or null.
type bytesOrNull []byte

func (b *bytesOrNull) UnmarshalJSON(text []byte) error {
	var s *string
	if err := json.Unmarshal(text, &s); err != nil || s == nil {
		*b = nil
		return err
	}
	raw, err := hex.DecodeString(*s)
	*b = raw
	return err
}

type vectorRecord struct {
	Key     bytesOrNull
	Value   bytesOrNull
	Headers []struct {
		Key   bytesOrNull
		Value bytesOrNull
	}
	Timestamp int64
	Offset    int64
}

func (v vectorRecord) record() Record {
	r := Record{Key: v.Key, Value: v.Value, Timestamp: v.Timestamp, Offset: v.Offset}
	for _, h := range v.Headers {
		r.Headers = append(r.Headers, wasmill.Header{Key: string(h.Key), Value: h.Value})
	}
	return r
}

type vector struct {
	Name  string
	Batch struct {
		Topic         string
		Partition     int32
		Place         string
		BaseTimestamp int64 `json:"base_timestamp"`
		Fields        wasmill.Fields
		Records       []vectorRecord
	}
	InputAddress  uint32 `json:"input_address"`
	Input         bytesOrNull
	OutputAddress uint32 `json:"output_address"`
	Output        bytesOrNull
	MemorySize    uint32 `json:"memory_size"`
	Result        string
	Actions       []struct {
		Kind      string
		Record    int
		Topic     string
		Partition int32
		Code      uint16
		Message   string
		New       *vectorRecord
	}
	Error string
}

func (v *vector) call() call {
	places := map[string]wasmill.Place{
		"write": wasmill.PlaceWrite, "view": wasmill.PlaceView, "derivation": wasmill.PlaceDerivation,
	}
	b := v.Batch
	return call{topic: b.Topic, partition: b.Partition, place: places[b.Place], now: b.BaseTimestamp, fields: b.Fields}
}

func (v *vector) records() []Record {
	var records []Record
	for _, r := range v.Batch.Records {
		records = append(records, r.record())
	}
	return records
}

// actions are the vector's actions as the harness shows them.
func (v *vector) actions() []Action {
	kinds := map[string]Kind{"keep": Keep, "route": Route, "emit": Emit, "reject": Reject}
	records := v.records()
	actions := []Action{}
	for _, a := range v.Actions {
		action := Action{Kind: kinds[a.Kind], Index: a.Record, Topic: a.Topic, Partition: a.Partition, Code: a.Code, Message: a.Message}
		if a.Topic == "" {
			action.Topic = v.Batch.Topic
		}
		if action.Kind != Reject {
			action.Record = records[a.Record]
		}
		if a.New != nil {
			action.Record = a.New.record()
			action.Record.Offset = records[a.Record].Offset
		}
		actions = append(actions, action)
	}
	return actions
}

// memory is the guest's memory that the vector describes.
func (v *vector) memory() []byte {
	memory := make([]byte, v.MemorySize)
	copy(memory[v.InputAddress:], v.Input)
	copy(memory[v.OutputAddress:], v.Output)
	return memory
}

func eachVector(t *testing.T, test func(t *testing.T, v *vector)) {
	files, err := filepath.Glob("../../spec/vectors/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d golden vectors found, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		t.Run(v.Name, func(t *testing.T) { test(t, &v) })
	}
}

func TestHarnessWritesTheVectorsInputs(t *testing.T) {
	eachVector(t, func(t *testing.T, v *vector) {
		if got := encode(v.call(), v.records()); string(got) != string(v.Input) {
			t.Errorf("encoded\n%x, want\n%x", got, v.Input)
		}
	})
}

func TestHarnessReadsTheVectorsOutputs(t *testing.T) {
	eachVector(t, func(t *testing.T, v *vector) {
		result, err := strconv.ParseUint(v.Result, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		memory := v.memory()
		view := func(address, n uint32) ([]byte, bool) {
			if uint64(address)+uint64(n) > uint64(len(memory)) {
				return nil, false
			}
			return memory[address:][:n], true
		}
		got, err := decode(decoder{view: view, call: v.call(), records: v.records()}, result)
		if (err != nil) != (v.Error != "") {
			t.Fatalf("error %v, want %q", err, v.Error)
		}
		var failed *callFailed
		if errors.As(err, &failed) != (v.Error == "failed") {
			t.Fatalf("%v, want %s", err, v.Error)
		}
		if err == nil && !same(got, v.actions()) {
			t.Errorf("actions %+v, want %+v", got, v.actions())
		}
	})
}

// same compares actions with nil and empty headers alike.
func same(a, b []Action) bool {
	for _, list := range [][]Action{a, b} {
		for i := range list {
			if len(list[i].Record.Headers) == 0 {
				list[i].Record.Headers = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

func TestSDKReadsTheVectorsInputs(t *testing.T) {
	eachVector(t, func(t *testing.T, v *vector) {
		var got []Record
		var about call
		instance := wasmill.NewInstance(wasmill.Transform{Batch: func(b *wasmill.Batch) error {
			about = call{topic: string([]byte(b.Topic())), partition: b.Partition(), place: b.Place(), now: b.BaseTimestamp(), fields: b.Fields()}
			for r := range b.All() {
				got = append(got, seen(r))
			}
			return nil
		}}, wasmill.Host{})
		instance.Process(v.Input, v.InputAddress)
		if about != v.call() {
			t.Errorf("call %+v, want %+v", about, v.call())
		}
		if want := masked(v.records(), v.Batch.Fields, v.call().place); !reflect.DeepEqual(got, want) {
			t.Errorf("records\n%+v, want\n%+v", got, want)
		}
	})
}

// seen copies what a transform sees of a record.
func seen(r *wasmill.Record) Record {
	clone := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		return append([]byte{}, b...)
	}
	record := Record{Key: clone(r.Key()), Value: clone(r.Value()), Timestamp: r.Timestamp(), Offset: r.Offset()}
	for h := range r.Headers() {
		record.Headers = append(record.Headers, wasmill.Header{Key: string([]byte(h.Key)), Value: clone(h.Value)})
	}
	return record
}

// masked are the records as a transform sees them that asked for some fields.
func masked(records []Record, fields wasmill.Fields, place wasmill.Place) []Record {
	for i := range records {
		r := &records[i]
		if fields&wasmill.FieldKey == 0 {
			r.Key = nil
		}
		if fields&wasmill.FieldValue == 0 {
			r.Value = nil
		}
		if fields&wasmill.FieldHeaders == 0 {
			r.Headers = nil
		}
		if fields&wasmill.FieldTimestamp == 0 {
			r.Timestamp = 0
		}
		if place == wasmill.PlaceWrite {
			r.Offset = -1
		}
	}
	return records
}

func TestSDKWritesTheVectorsActions(t *testing.T) {
	eachVector(t, func(t *testing.T, v *vector) {
		if v.Actions == nil {
			return
		}
		want := v.actions()
		r := &Runner{t: t, call: v.call()}
		r.instance = wasmill.NewInstance(wasmill.Transform{Record: func(r *wasmill.Record, out *wasmill.Output) {
			for _, a := range want {
				if a.Index == r.Index() {
					perform(a, out)
				}
			}
		}}, wasmill.Host{})
		records := v.records()
		result := r.instance.Process(v.Input, inputAddress)
		got, err := decode(decoder{view: r.view(v.Input), call: v.call(), records: records}, result)
		if err != nil || !same(got, want) {
			t.Errorf("%v; actions\n%+v, want\n%+v", err, got, want)
		}
	})
}

func perform(a Action, out *wasmill.Output) {
	e := wasmill.Emission{Topic: a.Topic, Key: a.Record.Key, Value: a.Record.Value, Headers: a.Record.Headers, Timestamp: a.Record.Timestamp}
	switch {
	case a.Kind == Keep:
		out.Keep()
	case a.Kind == Reject:
		out.Reject(a.Code, a.Message)
	case a.Kind == Route && a.Partition < 0:
		out.Route(a.Topic)
	case a.Kind == Route:
		out.RouteTo(a.Topic, a.Partition)
	case a.Partition < 0:
		out.Emit(e)
	default:
		out.EmitTo(a.Partition, e)
	}
}

// TestABreachOfTheABIIsSeen runs the SDK's output with one byte spoilt at a time: the
// decoder must never panic, and must report each spoilt kind, index and count.
func TestABreachOfTheABIIsSeen(t *testing.T) {
	c := call{topic: "t", fields: wasmill.AllFields}
	records := []Record{{Value: []byte("a")}, {Value: []byte("b")}}
	input := encode(c, records)
	instance := wasmill.NewInstance(wasmill.Transform{Record: func(r *wasmill.Record, out *wasmill.Output) {
		r.SetValue([]byte("new"))
		out.Keep()
	}}, wasmill.Host{})
	result := instance.Process(input, inputAddress)
	good, _ := instance.Memory(uint32(result>>32), uint32(result))
	harmless := map[int]bool{2: true, 3: true} // the code, which EMIT does not use
	for at := range 24 {
		output := append([]byte{}, good...)
		output[at] ^= 0xFF
		view := func(address, n uint32) ([]byte, bool) {
			if address == uint32(result>>32) {
				return output, true
			}
			return instance.Memory(address, n)
		}
		_, err := decode(decoder{view: view, call: c, records: records}, result)
		if at >= outputHeader && harmless[at-outputHeader] {
			continue
		}
		if err == nil {
			t.Errorf("byte %d spoilt from %#x: not noticed", at, good[at])
		}
	}
	if n := binary.LittleEndian.Uint32(good[8:]); n != 2 {
		t.Errorf("%d actions, want 2", n)
	}
}
