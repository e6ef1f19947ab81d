package abi

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/record"
)

var update = flag.Bool("update", false, "write the golden vectors")

const (
	vectorsDir    = "../../sdk/spec/vectors"
	vectorMemory  = 64 << 10
	vectorInput   = 1024
	vectorOutput  = 32768
	vectorDataOff = 1280 // data begins this far behind the start of the output block
)

type vector struct {
	Name          string          `json:"name"`
	Summary       string          `json:"summary,omitempty"`
	Batch         vectorBatch     `json:"batch"`
	InputAddress  int             `json:"input_address"`
	Input         string          `json:"input"`
	OutputAddress int             `json:"output_address"`
	Output        string          `json:"output"`
	MemorySize    int             `json:"memory_size"`
	Result        string          `json:"result"`
	Actions       *[]vectorAction `json:"actions,omitempty"`
	Error         string          `json:"error,omitempty"`
}

type vectorBatch struct {
	Topic         string         `json:"topic"`
	Partition     int32          `json:"partition"`
	Place         string         `json:"place"`
	BaseTimestamp int64          `json:"base_timestamp"`
	Fields        Mask           `json:"fields"`
	Records       []vectorRecord `json:"records"`
}

type vectorRecord struct {
	Key       *string        `json:"key"`
	Value     *string        `json:"value"`
	Headers   []vectorHeader `json:"headers"`
	Timestamp int64          `json:"timestamp"`
	Offset    *int64         `json:"offset,omitempty"`
}

type vectorHeader struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

type vectorAction struct {
	Kind      string        `json:"kind"`
	Record    int32         `json:"record"`
	Topic     string        `json:"topic"`
	Partition int32         `json:"partition"`
	Code      uint16        `json:"code"`
	Message   string        `json:"message"`
	New       *vectorRecord `json:"new,omitempty"`
}

// answer builds an output by hand, as a module would, so that the vectors do not depend on Decode.
type answer struct {
	actions []byte
	data    []byte
	result  uint64               // 0: address and length of the block
	mangle  func(block []byte)   // last word over the output block
	resize  func(length int) int // last word over the length
}

func (a *answer) put(b []byte) (ptr, size uint32) {
	ptr = uint32(vectorOutput + vectorDataOff + len(a.data))
	a.data = append(a.data, b...)
	return ptr, uint32(len(b))
}

type rawAction struct {
	kind, flags uint8
	code        uint16
	record      uint32
	topic       string
	partition   int32
	key, value  []byte // nil: null
	headers     []record.RecordHeader
	timestamp   int64
	message     string
	patch       func(b []byte)
}

func (a *answer) add(r rawAction) *answer {
	le := binary.LittleEndian
	b := make([]byte, actionSize)
	b[0], b[1] = r.kind, r.flags
	le.PutUint16(b[2:], r.code)
	le.PutUint32(b[4:], r.record)
	pair := func(at int, field []byte) {
		if field == nil {
			le.PutUint32(b[at+4:], null)
			return
		}
		ptr, size := a.put(field)
		le.PutUint32(b[at:], ptr)
		le.PutUint32(b[at+4:], size)
	}
	if r.topic != "" {
		pair(8, []byte(r.topic))
	}
	le.PutUint32(b[16:], uint32(r.partition))
	if r.kind == uint8(Emit) {
		if r.flags&flagInheritKey == 0 {
			pair(20, r.key)
		}
		if r.flags&flagInheritValue == 0 {
			pair(28, r.value)
		}
		if len(r.headers) > 0 {
			block := make([]byte, headersSize(r.headers))
			encodeHeaders(block, 0, r.headers)
			pair(36, block)
			le.PutUint32(b[44:], uint32(len(r.headers)))
		}
		le.PutUint64(b[48:], uint64(r.timestamp))
	}
	if r.message != "" {
		pair(56, []byte(r.message))
	}
	if r.patch != nil {
		r.patch(b)
	}
	a.actions = append(a.actions, b...)
	return a
}

// memory lays the answer out in a module's memory and returns it with the result.
func (a *answer) memory() (mem, output []byte, result uint64) {
	mem = make([]byte, vectorMemory)
	block := mem[vectorOutput:][:outputHeaderSize+len(a.actions)]
	binary.LittleEndian.PutUint32(block[0:], outputHeaderSize)
	binary.LittleEndian.PutUint32(block[4:], actionSize)
	binary.LittleEndian.PutUint32(block[8:], uint32(len(a.actions)/actionSize))
	copy(block[outputHeaderSize:], a.actions)
	copy(mem[vectorOutput+vectorDataOff:], a.data)
	if a.mangle != nil {
		a.mangle(block)
	}
	length := len(block)
	if a.resize != nil {
		length = a.resize(length)
	}
	end := vectorOutput + len(block)
	if len(a.data) > 0 {
		end = vectorOutput + vectorDataOff + len(a.data)
	}
	result = uint64(vectorOutput)<<32 | uint64(uint32(length))
	if a.result != 0 {
		result = a.result
	}
	return mem, mem[vectorOutput:end], result
}

type vectorCase struct {
	name, summary string
	in            Input
	mask          Mask
	out           *answer
	err           error
}

func TestVectors(t *testing.T) {
	names := map[string]bool{}
	for _, c := range vectorCases() {
		names[c.name+".json"] = true
		t.Run(c.name, func(t *testing.T) { checkVector(t, c) })
	}
	files, err := filepath.Glob(filepath.Join(vectorsDir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !names[filepath.Base(f)] {
			t.Errorf("%s belongs to no case", f)
		}
	}
}

func checkVector(t *testing.T, c vectorCase) {
	mem, output, result := c.out.memory()
	size, err := c.in.Size(c.mask)
	if err != nil {
		t.Fatal(err)
	}
	input := mem[vectorInput:][:size]
	if n := c.in.Encode(input, c.mask); n != size {
		t.Fatalf("Encode wrote %d bytes, Size said %d", n, size)
	}
	actions, err := Decode(mem, result, &c.in, DefaultLimits(), &Arena{}, nil)
	if (c.err == nil) != (err == nil) || c.err != nil && !errors.Is(err, c.err) && !isFailure(c.err, err) {
		t.Fatalf("Decode: got error %v, want %v", err, c.err)
	}
	v := vector{
		Name: c.name, Summary: c.summary, Batch: batchJSON(&c.in, c.mask), InputAddress: vectorInput, Input: hex.EncodeToString(input),
		OutputAddress: vectorOutput, Output: hex.EncodeToString(output), MemorySize: vectorMemory, Result: fmt.Sprintf("%016x", result),
		Error: ruleName(err),
	}
	if err == nil {
		list := actionsJSON(actions)
		v.Actions = &list
	}
	compareVector(t, v)
}

func isFailure(want, got error) bool {
	var a, b *Failure
	return errors.As(want, &a) && errors.As(got, &b) && a.Message == b.Message
}

func compareVector(t *testing.T, v vector) {
	path := filepath.Join(vectorsDir, v.Name+".json")
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs from what the code does; if that is meant, run go test ./wasm/abi -update\ngot %s", path, got)
	}
}

func ruleName(err error) string {
	rules := map[error]string{ErrBounds: "bounds", ErrMalformed: "malformed", ErrOrder: "order", ErrConflict: "conflict", ErrLimit: "limit", ErrTopic: "topic"}
	for rule, name := range rules {
		if errors.Is(err, rule) {
			return name
		}
	}
	if err != nil {
		return "failed"
	}
	return ""
}

func batchJSON(in *Input, mask Mask) vectorBatch {
	b := vectorBatch{Topic: in.Topic, Partition: in.Partition, Place: in.Place.String(), BaseTimestamp: in.BaseTimestamp, Fields: mask}
	for i := range in.Records {
		r, offset := recordJSON(&in.Records[i]), in.offset(&in.Records[i])
		r.Offset = &offset
		b.Records = append(b.Records, r)
	}
	return b
}

func recordJSON(r *record.Record) vectorRecord {
	v := vectorRecord{Key: hexOrNull(r.Key), Value: hexOrNull(r.Value), Timestamp: r.Timestamp, Headers: []vectorHeader{}}
	for _, h := range r.Headers {
		v.Headers = append(v.Headers, vectorHeader{Key: hex.EncodeToString(h.Key), Value: hexOrNull(h.Value)})
	}
	return v
}

func hexOrNull(b []byte) *string {
	if b == nil {
		return nil
	}
	s := hex.EncodeToString(b)
	return &s
}

func actionsJSON(actions []Action) []vectorAction {
	list := []vectorAction{}
	for i := range actions {
		a := &actions[i]
		v := vectorAction{Kind: a.Kind.String(), Record: a.Index, Topic: a.Topic, Partition: a.Partition, Code: a.Code, Message: a.Message}
		if a.Kind == Emit {
			r := recordJSON(&a.Record)
			v.New = &r
		}
		list = append(list, v)
	}
	return list
}

// The text of the ABI shows one vector byte by byte; it must be the one in the file.
func TestWorkedExampleIsInTheText(t *testing.T) {
	text, err := os.ReadFile("../../sdk/spec/abi-v1.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(vectorsDir, "worked-example.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for i, part := range strings.Split(string(text), "```") {
		if i%2 == 1 {
			blocks = append(blocks, hexOf(part))
		}
	}
	if want := []string{v.Input, v.Output}; !reflect.DeepEqual(blocks, want) {
		t.Errorf("the worked example shows\n%v\nthe vector says\n%v", blocks, want)
	}
}

// hexOf collects the hexadecimal columns of a dump; comments stand behind three or more spaces.
func hexOf(dump string) string {
	var s strings.Builder
	for line := range strings.Lines(dump) {
		columns, _, _ := strings.Cut(line, "   ")
		s.WriteString(strings.Join(strings.Fields(columns), ""))
	}
	return s.String()
}

func jsonText(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
