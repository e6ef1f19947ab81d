package record

import (
	"errors"
	"fmt"
)

// What can be wrong with a batch. Every error of this package wraps one of these with the batch's
// base offset and, where it applies, the record's index.
var (
	// ErrTooShort means that the buffer ends before the batch does.
	ErrTooShort = errors.New("record batch is cut short")
	// ErrLength means that the length field is impossible, or does not match the bytes given.
	ErrLength = errors.New("record batch has a wrong length field")
	// ErrMagic means that the batch is of another format version.
	ErrMagic = errors.New("record batch is not of format version 2")
	// ErrCRC means that the checksum does not match the bytes.
	ErrCRC = errors.New("record batch checksum does not match")
	// ErrCodec means that the attributes name an unknown compression.
	ErrCodec = errors.New("record batch names an unknown compression codec")
	// ErrCompressed means that the compressed bytes cannot be decompressed.
	ErrCompressed = errors.New("record batch cannot be decompressed")
	// ErrCount means that record count and last offset delta are impossible.
	ErrCount = errors.New("record batch has a wrong record count")
	// ErrRecord means that the bytes of a record are malformed.
	ErrRecord = errors.New("malformed record")
	// ErrOffsets means that offset deltas are not in order, or not what a producer must send.
	ErrOffsets = errors.New("record offsets are out of order")
	// ErrProducer means that producer id, epoch and sequence do not go together.
	ErrProducer = errors.New("record batch has invalid producer fields")
	// ErrAttributes means that the batch has flags that a producer must not set.
	ErrAttributes = errors.New("record batch has attributes that a producer must not set")
	// ErrTooLarge means that a batch, a record or a count is over its limit.
	ErrTooLarge = errors.New("record batch exceeds a limit")
	// ErrDecompressedTooLarge means that the records are over the limit once decompressed. It satisfies
	// errors.Is with ErrTooLarge as well.
	ErrDecompressedTooLarge = fmt.Errorf("decompressed: %w", ErrTooLarge)
	// ErrBuilder means that a Builder was used against its rules.
	ErrBuilder = errors.New("record batch cannot be built")
)

// batchError wraps a sentinel with the identity of the batch.
func batchError(b Batch, sentinel error, format string, args ...any) error {
	detail := fmt.Sprintf(format, args...)
	if len(b) < 8 {
		return fmt.Errorf("%w: %s", sentinel, detail)
	}
	return fmt.Errorf("batch at offset %d: %w: %s", b.BaseOffset(), sentinel, detail)
}
