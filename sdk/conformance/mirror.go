package conformance

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
)

// A mirror guest returns everything that it was given. For every record it
//
//  1. emits, into its own topic, a record made of the parts it read: key, value, headers one
//     by one, and the timestamp;
//  2. emits, to partition 1 of the topic "mirror", a record that inherits every part;
//  3. routes the record to partition 2 of the topic "copy".
//
// Every SDK but Go's, which reads the vectors natively, has one.
const (
	mirrorTopic = "mirror"
	copyTopic   = "copy"
)

// Mirror runs a mirror guest over the input of every golden vector in dir, sdk/spec/vectors,
// and compares what it wrote with what it was to read.
func Mirror(t *testing.T, dir fs.FS, wasm []byte) {
	names, err := fs.Glob(dir, "*.json")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d golden vectors, %v", len(names), err)
	}
	g := startRaw(t, wasm)
	for _, name := range names {
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := parseVector(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Run(name, func(t *testing.T) {
			result := g.process(v.input) // before looking at memory, which it may grow
			got, err := abi.Decode(g.memory(), result, &v.batch, abi.DefaultLimits(), &abi.Arena{}, nil)
			if err != nil {
				t.Fatalf("the guest's answer: %v", err)
			}
			if want := mirrored(v); !reflect.DeepEqual(plain(got), want) {
				t.Errorf("actions\n%v, want\n%v", plain(got), want)
			}
		})
	}
}

// mirrored is what a mirror guest answers to a vector's input.
func mirrored(v *vector) []string {
	var actions []abi.Action
	for i, r := range v.batch.Records {
		seen := record.Record{}
		if v.fields&abi.FieldKey != 0 {
			seen.Key = r.Key
		}
		if v.fields&abi.FieldValue != 0 {
			seen.Value = r.Value
		}
		if v.fields&abi.FieldHeaders != 0 {
			seen.Headers = r.Headers
		}
		if v.fields&abi.FieldTimestamp != 0 {
			seen.Timestamp = r.Timestamp
		}
		actions = append(actions,
			abi.Action{Kind: abi.Emit, Index: int32(i), Partition: abi.ByKey, Record: seen},
			abi.Action{Kind: abi.Emit, Index: int32(i), Partition: 1, Topic: mirrorTopic, Record: r},
			abi.Action{Kind: abi.Route, Index: int32(i), Partition: 2, Topic: copyTopic, Record: r})
	}
	return plain(actions)
}

// plain writes actions such that null, empty and the rest differ.
func plain(actions []abi.Action) []string {
	bytes := func(b []byte) string {
		if b == nil {
			return "null"
		}
		return fmt.Sprintf("%q", b)
	}
	lines := make([]string, len(actions))
	for i, a := range actions {
		headers := ""
		for _, h := range a.Record.Headers {
			headers += bytes(h.Key) + ":" + bytes(h.Value) + " "
		}
		lines[i] = fmt.Sprintf("%d %v to %q/%d key=%s value=%s headers=[%s] at %d",
			a.Index, a.Kind, a.Topic, a.Partition, bytes(a.Record.Key), bytes(a.Record.Value), headers, a.Record.Timestamp)
	}
	return lines
}

// raw is a guest without a pipeline around it, so that it can be given any input bytes.
type raw struct {
	t      *testing.T
	module api.Module
}

func startRaw(t *testing.T, wasm []byte) *raw {
	t.Helper()
	ctx := context.Background()
	runtime := wazero.NewRuntime(ctx)
	t.Cleanup(func() {
		if err := runtime.Close(ctx); err != nil {
			t.Errorf("close the runtime: %v", err)
		}
	})
	wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	if err := hostFunctions(ctx, runtime, t); err != nil {
		t.Fatalf("host functions: %v", err)
	}
	module, err := runtime.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		t.Fatalf("start the guest: %v", err)
	}
	g := &raw{t: t, module: module}
	if module.ExportedFunction(abi.ExportInit) != nil {
		config := []byte("{}")
		if refused := g.call(abi.ExportInit, g.write(config), uint64(len(config))); refused != 0 {
			t.Fatalf("the guest refuses an empty configuration: %d", refused)
		}
	}
	return g
}

// hostFunctions are the imports of a guest that is configured with nothing: only log does something.
func hostFunctions(ctx context.Context, runtime wazero.Runtime, t *testing.T) error {
	b := runtime.NewHostModuleBuilder(abi.ImportModule)
	for _, f := range abi.HostFunctions {
		run := func(_ context.Context, m api.Module, stack []uint64) {
			switch f.Name {
			case abi.ImportLog:
				line, _ := m.Memory().Read(uint32(stack[1]), uint32(stack[2]))
				t.Logf("guest, level %d: %s", uint32(stack[0]), line)
			case abi.ImportConfigGet:
				stack[0] = api.EncodeI32(-1)
			case abi.ImportNow:
				stack[0] = 0
			}
		}
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(run), []api.ValueType(f.Params), []api.ValueType(f.Results)).Export(f.Name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func (g *raw) call(name string, args ...uint64) uint64 {
	g.t.Helper()
	results, err := g.module.ExportedFunction(name).Call(context.Background(), args...)
	if err != nil || len(results) != 1 {
		g.t.Fatalf("%s: %v, %d results", name, err, len(results))
	}
	return results[0]
}

// write copies bytes to an address that the guest allocates.
func (g *raw) write(b []byte) (address uint64) {
	g.t.Helper()
	at := g.call(abi.ExportAlloc, uint64(len(b)))
	if at == 0 || at%abi.Alignment != 0 || !g.module.Memory().Write(uint32(at), b) {
		g.t.Fatalf("%s gives address %d for %d bytes", abi.ExportAlloc, at, len(b))
	}
	return at
}

func (g *raw) process(input []byte) uint64 {
	g.t.Helper()
	return g.call(abi.ExportProcess, g.write(input), uint64(len(input)))
}

func (g *raw) memory() []byte {
	size := g.module.Memory().Size()
	all, _ := g.module.Memory().Read(0, size)
	return all
}

// vector is the part of a golden vector that a guest is given.
type vector struct {
	input  []byte
	fields abi.Mask
	batch  abi.Input
}

type hexBytes []byte

func (b *hexBytes) UnmarshalJSON(text []byte) error {
	var s *string
	if err := json.Unmarshal(text, &s); err != nil || s == nil {
		*b = nil
		return err
	}
	decoded, err := hex.DecodeString(*s)
	*b = decoded
	return err
}

func parseVector(text []byte) (*vector, error) {
	var v struct {
		Batch struct {
			Topic         string
			Partition     int32
			BaseTimestamp int64 `json:"base_timestamp"`
			Fields        abi.Mask
			Records       []struct {
				Key, Value hexBytes
				Headers    []struct{ Key, Value hexBytes }
				Timestamp  int64
			}
		}
		Input hexBytes
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	parsed := &vector{input: v.Input, fields: v.Batch.Fields, batch: abi.Input{
		Topic: v.Batch.Topic, Partition: v.Batch.Partition, BaseTimestamp: v.Batch.BaseTimestamp, BaseOffset: -1,
	}}
	for _, r := range v.Batch.Records {
		rec := record.Record{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, record.RecordHeader{Key: h.Key, Value: h.Value})
		}
		parsed.batch.Records = append(parsed.batch.Records, rec)
	}
	return parsed, nil
}
