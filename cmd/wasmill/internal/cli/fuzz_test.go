package cli

import (
	"bytes"
	"testing"
)

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
