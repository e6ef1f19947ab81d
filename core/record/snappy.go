package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/snappy"
)

// The framing that Java's snappy library writes, and other clients after it: a header of magic and
// two version numbers, then blocks, each behind its length. Clients read both it and bare blocks.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const (
	xerialHeader = 16 // magic, version, least compatible version
	// maxSnappyRatio is above what snappy can reach: 64 bytes from a copy element of three. A block
	// that claims more is refused before memory is allocated for it.
	maxSnappyRatio = 22
)

var errSnappyClaim = errors.New("snappy: a block claims a length that it cannot have")

func compressSnappy(dst, src []byte) ([]byte, error) {
	most := snappy.MaxEncodedLen(len(src))
	if most < 0 {
		return dst, fmt.Errorf("%w: %d bytes for snappy", ErrTooLarge, len(src))
	}
	dst = slices.Grow(dst, most)
	from := len(dst)
	return dst[:from+len(snappy.Encode(dst[from:from+most], src))], nil
}

func decompressSnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return appendSnappyBlock(dst[:0], src, limit)
	}
	if len(src) < xerialHeader {
		return dst, corrupt(errors.New("snappy: framing header cut short"))
	}
	dst, src = dst[:0], src[xerialHeader:]
	for len(src) > 0 {
		if len(src) < 4 {
			return dst, corrupt(errors.New("snappy: block length cut short"))
		}
		n := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; n > int64(len(src)) {
			return dst, corrupt(fmt.Errorf("snappy: block of %d bytes, %d left", n, len(src)))
		}
		var err error
		if dst, err = appendSnappyBlock(dst, src[:n], limit); err != nil {
			return dst, err
		}
		src = src[n:]
	}
	return dst, nil
}

// appendSnappyBlock appends one decompressed block to dst, which shall not grow beyond limit bytes.
func appendSnappyBlock(dst, block []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return dst, corrupt(err)
	}
	if n > maxSnappyRatio*len(block) {
		return dst, corrupt(errSnappyClaim)
	}
	if n > limit-len(dst) {
		return dst, ErrDecompressedTooLarge
	}
	dst = slices.Grow(dst, n)
	from := len(dst)
	if _, err = snappy.Decode(dst[from:from+n], block); err != nil {
		return dst, corrupt(err)
	}
	return dst[:from+n], nil
}
