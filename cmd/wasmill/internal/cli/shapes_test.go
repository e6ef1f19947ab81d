package cli

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/api"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// The client has types of its own, lest it drag the broker in. What the broker writes must fit them
// without rest, and come back the same.
func TestClientTypesFitTheBrokers(t *testing.T) {
	for _, pair := range []struct{ broker, client any }{
		{&api.TopicSpec{}, &client.TopicSpec{}},
		{&api.TopicChange{}, &client.TopicChange{}},
		{&api.Topic{}, &client.Topic{}},
		{&api.ProduceResult{}, &client.ProduceResult{}},
		{&api.Module{}, &client.Module{}},
		{&api.Pipeline{}, &client.Pipeline{}},
		{&api.View{}, &client.View{}},
		{&api.Derivation{}, &client.Derivation{}},
		{&api.Cluster{}, &client.Cluster{}},
	} {
		fillIn(reflect.ValueOf(pair.broker).Elem())
		want, err := json.Marshal(pair.broker)
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(bytes.NewReader(want))
		dec.DisallowUnknownFields()
		if err := dec.Decode(pair.client); err != nil {
			t.Errorf("%T: %v in %s", pair.client, err, want)
			continue
		}
		got, err := json.Marshal(pair.client)
		if err != nil || !sameJSON(t, got, want) {
			t.Errorf("%T: %v\ngot  %s\nwant %s", pair.client, err, got, want)
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
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fillIn(v.Field(i))
			}
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

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"key":"k","value":{"a":1},"headers":{"h":"v"},"timestamp":1,"partition":0}`))
	f.Add([]byte(`{"value_b64":"AA==","headers":[{"key":"h","value_b64":"/w=="}],"timestamp":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"value":nul`))
	f.Fuzz(func(t *testing.T, line []byte) {
		in, err := parseRecord(line)
		if err != nil {
			return
		}
		text, b64 := bytesToJSON(in.Value)
		again, err := jsonToBytes("value", text, b64)
		if err != nil || !bytes.Equal(again, in.Value) || (again == nil) != (in.Value == nil) {
			t.Errorf("%q: value %q came back as %q, %v", line, in.Value, again, err)
		}
	})
}

func FuzzParseStage(f *testing.F) {
	f.Add(`redact@2,on_error=dead_letter,dead_letter_topic=t,memory=64MiB,config={"a":[1,2]}`)
	f.Add("a,")
	f.Add(",config=")
	f.Fuzz(func(t *testing.T, text string) {
		if bytes.Contains([]byte(text), []byte("config=@")) {
			return // it names a file
		}
		if s, err := parseStage(text); err == nil && s.Module == "" {
			t.Errorf("%q names no module", text)
		}
	})
}

func TestTopicNamesAreCompleted(t *testing.T) {
	url := cannedServer(t)
	r := at(t, url, "", "__complete", "consume", "")
	if r.code != ExitOK || r.out != "orders\nlogs\norders-public\n:4\n" {
		t.Errorf("%+v", r)
	}
	if r := at(t, url, "", "__complete", "produce", ""); r.out != "orders\nlogs\n:4\n" {
		t.Errorf("%+v", r)
	}
	if r := at(t, url, "", "completion", "bash"); r.code != ExitOK || len(r.out) < 1000 {
		t.Errorf("%+v", r)
	}
}
