package abi

import "strings"

// ValueType is a type of WebAssembly, by its byte in the binary format.
type ValueType byte

// The types that the functions of the ABI have, and the others that an error may have to name.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	f32       ValueType = 0x7d
	f64       ValueType = 0x7c
	v128      ValueType = 0x7b
	funcref   ValueType = 0x70
	externref ValueType = 0x6f
)

var typeNames = map[ValueType]string{
	I32: "i32", I64: "i64", f32: "f32", f64: "f64", v128: "v128", funcref: "funcref", externref: "externref",
}

// String is the type's name in the text format; empty for a byte that is no type.
func (t ValueType) String() string { return typeNames[t] }

// Signature is the type of a function. Each byte is a ValueType, so that signatures can be compared.
type Signature struct {
	Params, Results string
}

func signature(params []ValueType, results ...ValueType) Signature {
	return Signature{string(bytesOf(params)), string(bytesOf(results))}
}

func bytesOf(types []ValueType) []byte {
	b := make([]byte, len(types))
	for i, t := range types {
		b[i] = byte(t)
	}
	return b
}

// String writes the signature as the text of the ABI does: (i32, i32) -> i64.
func (s Signature) String() string {
	if s.Results == "" {
		return "(" + namesOf(s.Params) + ")"
	}
	return "(" + namesOf(s.Params) + ") -> " + namesOf(s.Results)
}

func namesOf(types string) string {
	names := make([]string, len(types))
	for i := range len(types) {
		names[i] = ValueType(types[i]).String()
	}
	return strings.Join(names, ", ")
}

// Function is a function of the ABI.
type Function struct {
	Name string
	Signature
	Required bool // of an export
}

// Exports are the functions that a module exports to the broker.
var Exports = []Function{
	{ExportAlloc, signature([]ValueType{I32}, I32), true},
	{ExportProcess, signature([]ValueType{I32, I32}, I64), true},
	{ExportInit, signature([]ValueType{I32, I32}, I32), false},
	{ExportFields, signature(nil, I32), false},
	{ExportInitialize, signature(nil), false},
}

// The functions of ImportModule, which the broker offers to modules. All are optional.
const (
	ImportLog       = "log"
	ImportConfigGet = "config_get"
	ImportMetricAdd = "metric_add"
	ImportNow       = "now"
	ImportRandom    = "random"
)

// HostFunctions are the functions of ImportModule. What package module lets a binary import and what
// package engine links are both this table.
var HostFunctions = []Function{
	{Name: ImportLog, Signature: signature([]ValueType{I32, I32, I32})},
	{Name: ImportConfigGet, Signature: signature([]ValueType{I32, I32, I32, I32}, I32)},
	{Name: ImportMetricAdd, Signature: signature([]ValueType{I32, I32, I64})},
	{Name: ImportNow, Signature: signature(nil, I64)},
	{Name: ImportRandom, Signature: signature([]ValueType{I32, I32})},
}
