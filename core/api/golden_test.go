package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

var update = flag.Bool("update", false, "write the golden files anew")

// shapes are all that the API says and reads.
func shapes() []any {
	return []any{
		&TopicSpec{}, &TopicChange{}, &Topic{}, &TopicList{},
		&Module{}, &ModuleList{}, &ModuleVersions{}, &DryRun{}, &DryRunResult{},
		&Stage{}, &PipelineSpec{}, &Pipeline{}, &ViewSpec{}, &View{}, &ViewList{},
		&DerivationSpec{}, &Derivation{}, &DerivationList{},
		&Cluster{}, &BrokerList{}, &ProducerID{}, &Status{},
		&Records{}, &ProduceResult{}, &FetchRequest{}, &FetchHead{}, &Error{},
	}
}

// TestGolden holds every shape, with all members and with none, to the bytes that clients know. A
// difference here is a change of the API.
func TestGolden(t *testing.T) {
	for _, shape := range shapes() {
		kind := reflect.TypeOf(shape).Elem()
		t.Run(kind.Name(), func(t *testing.T) {
			empty, err := json.Marshal(shape)
			if err != nil {
				t.Fatal(err)
			}
			fillIn(reflect.ValueOf(shape).Elem())
			full, err := json.Marshal(shape)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, kind.Name(), append(append(append(full, '\n'), empty...), '\n'))

			again := reflect.New(kind)
			dec := json.NewDecoder(bytes.NewReader(full))
			dec.DisallowUnknownFields()
			if err := dec.Decode(again.Interface()); err != nil {
				t.Fatalf("%v in %s", err, full)
			}
			if !reflect.DeepEqual(again.Interface(), shape) {
				t.Errorf("read back as %+v, written from %+v", again.Elem(), shape)
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s\ngot  %s\nwant %s", path, got, want)
	}
}

// TestGoldenFiles finds files of shapes that are gone.
func TestGoldenFiles(t *testing.T) {
	known := map[string]bool{}
	for _, shape := range shapes() {
		known[reflect.TypeOf(shape).Elem().Name()] = true
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(known) {
		t.Errorf("%d files for %d shapes, %v", len(files), len(known), err)
	}
	for _, f := range files {
		if !known[strings.TrimSuffix(filepath.Base(f), ".json")] {
			t.Errorf("%s belongs to no shape", f)
		}
	}
}

// fillIn puts a value into every field, so that none is left out of the JSON.
func fillIn(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(`{"a":1}`)))
		return
	case Error:
		v.Set(reflect.ValueOf(Error{
			Code: errcode.DiskFull, Name: "DISK_FULL", Status: 507, Detail: "full", Retriable: true,
			Fields: map[string]json.RawMessage{"free": json.RawMessage("1")},
		}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillIn(v.Field(i))
		}
		if out, ok := v.Addr().Interface().(*DryRunOutput); ok {
			out.Record.Partition = nil // hidden by the output's own
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillIn(v.Index(0))
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fillIn(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(v.Elem())
	case reflect.String:
		v.SetString("s")
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.Set(reflect.ValueOf(7).Convert(v.Type()))
	}
}
