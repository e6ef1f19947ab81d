// Package recordjson reads and writes records as JSON text. Reading is strict (RFC 8259 and UTF-8, no
// unknown or repeated members, a bounded depth, nothing behind the value) and says line and column of a
// fault; keys and values alias the text, in which strings are unescaped and values compacted in place.
// What is written and read again has the same bytes: see AppendRecord.
package recordjson
