package client

import (
	"encoding/json"
	"unicode/utf8"
)

// JSONRecord is a record as JSON carries it. Key and Value hold any JSON: a string stands for its
// bytes, anything else for its compact text. Bytes that are not UTF-8 go into KeyB64 and ValueB64.
// Headers is an object {"name":"value"} or a list [{"key","value"|"value_b64"}].
type JSONRecord struct {
	Key       json.RawMessage `json:"key,omitempty"`
	KeyB64    []byte          `json:"key_b64,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	ValueB64  []byte          `json:"value_b64,omitempty"`
	Headers   json.RawMessage `json:"headers,omitempty"`
	Timestamp json.RawMessage `json:"timestamp,omitempty"` // RFC 3339 or milliseconds; none: now
	Partition *int32          `json:"partition,omitempty"` // none: by key
}

// NewJSONRecord makes a record whose bytes survive the way through JSON; nil is null.
func NewJSONRecord(key, value []byte) JSONRecord {
	var r JSONRecord
	r.Key, r.KeyB64 = jsonBytes(key)
	r.Value, r.ValueB64 = jsonBytes(value)
	return r
}

func jsonBytes(b []byte) (text json.RawMessage, b64 []byte) {
	switch {
	case b == nil:
		return nil, nil
	case !utf8.Valid(b):
		return nil, b
	}
	text, err := json.Marshal(string(b))
	if err != nil { // a valid string always has a JSON form
		return nil, b
	}
	return text, nil
}
