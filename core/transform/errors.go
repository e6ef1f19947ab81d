package transform

import (
	"errors"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// batchCodes maps what can be wrong with a batch to the codes that a client sees; anything else is
// CORRUPT_MESSAGE.
var batchCodes = []struct {
	err  error
	code errcode.Code
}{
	{record.ErrMagic, errcode.UnsupportedForMessageFormat},
	{record.ErrCodec, errcode.UnsupportedCompressionType},
	{record.ErrDecompressedTooLarge, errcode.DecompressionTooLarge}, // also an ErrTooLarge: it comes first
	{record.ErrTooLarge, errcode.MessageTooLarge},
}

// codedError is an error under the code of cause: what is wrong with a batch, or that there was no memory to
// look into it.
func codedError(cause error, format string, args ...any) *errcode.Error {
	var coded *errcode.Error
	if errors.As(cause, &coded) {
		e := errcode.New(coded.Code, format, args...)
		e.Fields = coded.Fields
		return e
	}
	code := errcode.CorruptMessage
	for _, known := range batchCodes {
		if errors.Is(cause, known.err) {
			code = known.code
			break
		}
	}
	return errcode.New(code, format, args...)
}

// BatchError says which batch of a produce request is refused, at which byte of the body it begins and why.
func BatchError(topicName string, number, position int, err error) error {
	return codedError(err, "produce to %q: batch %d at byte %d: %w", topicName, number, position, err).
		With("batch", number).With("position", position)
}

// tooLarge refuses record index of a request, which is over the topic's limit.
func tooLarge(t Topic, index, size int) error {
	return errcode.New(errcode.MessageTooLarge,
		"produce to %q: record %d of %d bytes is over the limit of %d; send smaller ones or raise max.message.bytes",
		t.Name, index, size, t.MaxMessageBytes).
		With("limit", t.MaxMessageBytes)
}
