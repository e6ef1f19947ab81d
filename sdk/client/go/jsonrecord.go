package client

import (
	"encoding/json"
	"unicode/utf8"
)

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
