package boltfile

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt's file, as far as it is checked here. Numbers are in the byte order of the machine.
const (
	pageHeader = 16 // id 8, flags 2, count 2, overflow 4
	element    = 16 // of a branch: pos 4, key size 4, page 8; of a leaf: flags 4, pos 4, key size 4, value size 4
	metaSize   = 64 // magic 4, version 4, page size 4, flags 4, root 8, sequence 8, freelist 8, pages 8, txid 8, checksum 8
	metaSummed = 56

	metaMagic   = 0xED0CDAED
	metaVersion = 2

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketValue  = 0x01 // flag of a leaf element
	noFreelist   = 1<<64 - 1
	manyFree     = 0xFFFF // a count that stands in the first element instead
)

var order = binary.NativeEndian

// Damage means that a file is not one that bbolt wrote, or not as it wrote it.
type Damage struct{ File, Reason string }

// Error names file and reason.
func (d *Damage) Error() string { return fmt.Sprintf("%s is damaged: %s", d.File, d.Reason) }

// Damaged reports that trying again does not help.
func (d *Damage) Damaged() bool { return true }

// layout is what the newest valid meta page says.
type layout struct {
	pageSize int64
	root     uint64
	freelist uint64
	pages    uint64 // the first page that was never used
	txid     uint64
}

// checker walks every page that can be reached. It reads the file itself: bbolt panics on much damage, goes
// round for ever where pages refer to each other in a circle, and a page of a mapped file that cannot be
// read is a fault of memory.
type checker struct {
	file io.ReaderAt
	name string
	layout
	seen map[uint64]bool
}

func (c *checker) damage(format string, args ...any) error {
	return &Damage{c.name, fmt.Sprintf(format, args...)}
}

// verify checks the whole file of size bytes. An error that is not a Damage is that of a read.
func verify(file io.ReaderAt, name string, size int64) (layout, error) {
	c := &checker{file: file, name: name, seen: map[uint64]bool{}}
	if err := c.readMetas(size); err != nil {
		return c.layout, err
	}
	if c.pages < 2 || c.pages > uint64(size/c.pageSize) {
		return c.layout, c.damage("it has %d bytes, and should have %d pages of %d", size, c.pages, c.pageSize)
	}
	if err := c.walk(c.root); err != nil {
		return c.layout, err
	}
	return c.layout, c.checkFreelist()
}

// readMetas takes the newer of the two meta pages, and wants both to be valid. bbolt itself would take the
// older one if the newer is not, and forget the last transaction. A crash leaves both valid: what counts of a
// meta page lies in one sector, which is written whole or not at all.
func (c *checker) readMetas(size int64) error {
	first, err := c.readMeta(0, size)
	if err != nil {
		return err
	}
	second, err := c.readMeta(first.pageSize, size)
	if err != nil {
		return err
	}
	if first.pageSize != second.pageSize {
		return c.damage("its meta pages do not agree about the size of a page")
	}
	c.layout = first
	if second.txid > first.txid {
		c.layout = second
	}
	return nil
}

func (c *checker) readMeta(offset, size int64) (layout, error) {
	if offset+pageHeader+metaSize > size {
		return layout{}, c.damage("it ends at byte %d, within its meta pages", size)
	}
	b := make([]byte, metaSize)
	if _, err := c.file.ReadAt(b, offset+pageHeader); err != nil {
		return layout{}, fmt.Errorf("read %s: %w", c.name, err)
	}
	m, ok := decodeMeta(b)
	if !ok {
		return layout{}, c.damage("its meta page at byte %d is not valid", offset)
	}
	return m, nil
}

func decodeMeta(b []byte) (layout, bool) {
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSummed])
	m := layout{
		pageSize: int64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]),
		pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
	}
	return m, order.Uint32(b) == metaMagic && order.Uint32(b[4:]) == metaVersion &&
		order.Uint64(b[metaSummed:]) == sum.Sum64() && m.pageSize >= 1024
}

// page reads a page with its overflow, which nothing else may refer to.
func (c *checker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= c.pages {
		return nil, c.damage("it refers to page %d of %d", id, c.pages)
	}
	header := make([]byte, pageHeader)
	if _, err := c.file.ReadAt(header, int64(id)*c.pageSize); err != nil {
		return nil, fmt.Errorf("read %s: %w", c.name, err)
	}
	overflow := uint64(order.Uint32(header[12:]))
	if order.Uint64(header) != id || overflow >= c.pages-id {
		return nil, c.damage("page %d is none", id)
	}
	for n := id; n <= id+overflow; n++ {
		if c.seen[n] {
			return nil, c.damage("page %d is used twice", n)
		}
		c.seen[n] = true
	}
	b := make([]byte, int64(overflow+1)*c.pageSize)
	if _, err := c.file.ReadAt(b, int64(id)*c.pageSize); err != nil {
		return nil, fmt.Errorf("read %s: %w", c.name, err)
	}
	return b, nil
}

// walk checks a page and all below it.
func (c *checker) walk(id uint64) error {
	b, err := c.page(id)
	if err != nil {
		return err
	}
	return c.walkElements(id, b)
}

// walkElements checks the elements of a page with this id, or of one that is within it.
func (c *checker) walkElements(id uint64, b []byte) error {
	flags, count := order.Uint16(b[8:]), int(order.Uint16(b[10:]))
	if flags != branchPage && flags != leafPage || pageHeader+count*element > len(b) || flags == branchPage && count == 0 {
		return c.damage("page %d has flags %#x and %d elements", id, flags, count)
	}
	last := ""
	for n := range count {
		at := pageHeader + n*element
		e := b[at : at+element]
		keyAt, keySize, valueSize := int64(order.Uint32(e)), int64(order.Uint32(e[4:])), int64(0)
		if flags == leafPage {
			keyAt, keySize, valueSize = int64(order.Uint32(e[4:])), int64(order.Uint32(e[8:])), int64(order.Uint32(e[12:]))
		}
		keyAt += int64(at)
		end := keyAt + keySize + valueSize
		if end > int64(len(b)) || keyAt < int64(pageHeader+count*element) {
			return c.damage("element %d of page %d lies outside of it", n, id)
		}
		key := string(b[keyAt : keyAt+keySize])
		if n > 0 && key <= last {
			return c.damage("the keys of page %d are not in order", id)
		}
		last = key
		if err := c.walkBelow(id, flags, e, b[keyAt+keySize:end]); err != nil {
			return err
		}
	}
	return nil
}

// walkBelow checks what an element refers to.
func (c *checker) walkBelow(id uint64, flags uint16, e, value []byte) error {
	switch {
	case flags == branchPage:
		return c.walk(order.Uint64(e[8:]))
	case order.Uint32(e)&bucketValue == 0:
		return nil
	case len(value) < 16:
		return c.damage("a bucket in page %d is cut short", id)
	case order.Uint64(value) != 0:
		return c.walk(order.Uint64(value))
	case len(value) < 16+pageHeader:
		return c.damage("a bucket in page %d is cut short", id)
	}
	return c.walkElements(id, value[16:])
}

// checkFreelist checks that no page counts as free that is in use: bbolt would overwrite it.
func (c *checker) checkFreelist() error {
	if c.freelist == noFreelist {
		return nil
	}
	b, err := c.page(c.freelist)
	if err != nil {
		return err
	}
	count, at := uint64(order.Uint16(b[10:])), pageHeader
	if count == manyFree && len(b) >= pageHeader+8 {
		count, at = order.Uint64(b[at:]), at+8
	}
	if order.Uint16(b[8:]) != freelistPage || count > uint64(len(b)-at)/8 {
		return c.damage("page %d is not the list of free pages", c.freelist)
	}
	for n := range count {
		id := order.Uint64(b[at+int(n)*8:])
		if id < 2 || id >= c.pages || c.seen[id] {
			return c.damage("page %d is in use or does not exist, and is in the list of free pages", id)
		}
		c.seen[id] = true
	}
	return nil
}
