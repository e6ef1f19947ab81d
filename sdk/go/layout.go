package wasmill

import "unsafe"

// The fixed-width parts of ABI v1. The structs have the ABI's sizes and offsets exactly, so
// they are laid over the bytes in place of decoding field by field; TestLayout checks
// that. The ABI is little-endian, as Wasm is, and so is every machine that native tests of
// a transform run on.

const (
	inputHeaderSize  = 48
	descriptorSize   = 48
	outputHeaderSize = 16
	actionSize       = 64

	// nullLength stands for the length of a null key, value or header value.
	nullLength = 0xFFFFFFFF
	// failedCall is the bit of a call's result that says that the output is a message.
	failedCall = uint64(1) << 63
)

type inputHeader struct {
	headerSize     uint32
	descriptorSize uint32
	recordCount    uint32
	fields         Fields
	partition      int32
	place          Place
	baseTimestamp  int64
	topicOff       uint32
	topicLen       uint32
	reserved       int64
}

type descriptor struct {
	keyOff, keyLen         uint32
	valueOff, valueLen     uint32
	headersOff, headersLen uint32
	headersCount           uint32
	flags                  uint32
	timestamp              int64
	offset                 int64
}

type actionKind uint8

const (
	actionKeep   actionKind = 1
	actionRoute  actionKind = 2
	actionEmit   actionKind = 3
	actionReject actionKind = 4
)

const (
	flagPartition uint8 = 1 << iota
	flagTimestamp
	flagInheritKey
	flagInheritValue
	flagInheritHeaders
)

type action struct {
	kind                   actionKind
	flags                  uint8
	code                   uint16
	record                 uint32
	topicPtr, topicLen     uint32
	partition              int32
	keyPtr, keyLen         uint32
	valuePtr, valueLen     uint32
	headersPtr, headersLen uint32
	headersCount           uint32
	timestamp              int64
	messagePtr, messageLen uint32
}

// within reports where b lies in outer, when it lies in it whole.
func within(outer, b []byte) (offset uint32, ok bool) {
	if len(b) == 0 || len(outer) == 0 {
		return 0, false
	}
	start, at := uintptr(unsafe.Pointer(&outer[0])), uintptr(unsafe.Pointer(&b[0]))
	if at < start || at+uintptr(len(b)) > start+uintptr(len(outer)) {
		return 0, false
	}
	return uint32(at - start), true
}

// text views b as a string without copying it. The string is valid as long as b is unchanged.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// octets views s as bytes without copying it; they must not be written to.
func octets(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
