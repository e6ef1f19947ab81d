package metadata

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// An image's bytes, little-endian:
//
//	offset  size  field
//	0       8     "wmillmd\n"
//	8       4     format version, 1
//	12      4     CRC-32C of the body
//	16      8     length of the body
//	24      n     body: one compact JSON object, its lists sorted
//
// The same state always has the same bytes.
const (
	snapshotMagic   = "wmillmd\n"
	snapshotVersion = 1
	snapshotHeader  = 24
)

// MaxImageBytes bounds what a restore will read into memory.
const MaxImageBytes = 1 << 30

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrSnapshotCorrupt is wrapped by DecodeImage's error when the bytes are damaged.
var ErrSnapshotCorrupt = errors.New("metadata snapshot is damaged")

// ErrSnapshotVersion is wrapped by DecodeImage's error when a newer version of the broker wrote the
// bytes.
var ErrSnapshotVersion = errors.New("metadata snapshot has an unknown format version")

// body is the JSON of an image. Members are only ever added, with a new snapshotVersion.
type body struct {
	Version          uint64            `json:"version"`
	ClusterID        string            `json:"cluster_id"`
	NextTopicID      TopicID           `json:"next_topic_id"`
	NextDerivationID uint64            `json:"next_derivation_id"`
	NextProducerID   int64             `json:"next_producer_id"`
	Counters         map[string]uint64 `json:"counters"` // encoding/json sorts keys
	Topics           []*Topic          `json:"topics"`
	Modules          []*Module         `json:"modules"` // by name, then version
	Pipelines        []*Pipeline       `json:"pipelines"`
	Views            []*View           `json:"views"`
	Derivations      []*Derivation     `json:"derivations"`
}

// Encode is the image's bytes. The caller owns them.
func (i *Image) Encode() ([]byte, error) {
	b := body{
		Version:          i.version,
		ClusterID:        i.clusterID,
		NextTopicID:      i.nextTopic,
		NextDerivationID: i.nextDerived,
		NextProducerID:   i.nextPID,
		Counters:         i.counters,
		Topics:           i.Topics(),
		Modules:          []*Module{},
		Pipelines:        i.Pipelines(),
		Views:            i.Views(),
		Derivations:      i.Derivations(),
	}
	for _, versions := range sorted(i.modules) {
		b.Modules = append(b.Modules, versions...)
	}
	data, err := marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode metadata image %d: %w", i.version, err)
	}
	out := make([]byte, snapshotHeader, snapshotHeader+len(data))
	copy(out, snapshotMagic)
	binary.LittleEndian.PutUint32(out[8:], snapshotVersion)
	binary.LittleEndian.PutUint32(out[12:], crc32.Checksum(data, castagnoli))
	binary.LittleEndian.PutUint64(out[16:], uint64(len(data)))
	return append(out, data...), nil
}

// DecodeImage reads what Encode wrote. The error wraps ErrSnapshotCorrupt or ErrSnapshotVersion.
func DecodeImage(data []byte) (*Image, error) {
	if len(data) < snapshotHeader || string(data[:8]) != snapshotMagic {
		return nil, fmt.Errorf("decode metadata image of %d bytes: %w: it does not begin as one", len(data), ErrSnapshotCorrupt)
	}
	if v := binary.LittleEndian.Uint32(data[8:]); v != snapshotVersion {
		return nil, fmt.Errorf("decode metadata image: %w: %d, this broker reads %d; start the version that wrote it", ErrSnapshotVersion, v, snapshotVersion)
	}
	raw := data[snapshotHeader:]
	if n := binary.LittleEndian.Uint64(data[16:]); n != uint64(len(raw)) {
		return nil, fmt.Errorf("decode metadata image: %w: its header says %d bytes, there are %d", ErrSnapshotCorrupt, n, len(raw))
	}
	if want, got := binary.LittleEndian.Uint32(data[12:]), crc32.Checksum(raw, castagnoli); want != got {
		return nil, fmt.Errorf("decode metadata image: %w: checksum is %08x, not %08x", ErrSnapshotCorrupt, got, want)
	}
	var b body
	if err := strict(raw, &b); err != nil {
		return nil, fmt.Errorf("decode metadata image: %w: %w", ErrSnapshotCorrupt, err)
	}
	image, err := b.image()
	if err != nil {
		return nil, fmt.Errorf("decode metadata image: %w: %w", ErrSnapshotCorrupt, err)
	}
	return image, nil
}

// image builds the tables. It refuses a body that no sequence of commands can have produced.
func (b *body) image() (*Image, error) {
	i := NewImage()
	i.version, i.clusterID = b.Version, b.ClusterID
	i.nextTopic, i.nextDerived, i.nextPID = b.NextTopicID, b.NextDerivationID, b.NextProducerID
	for key, n := range b.Counters {
		i.counters[key] = n
	}
	for n, t := range b.Topics {
		if t == nil || i.topics[t.Name] != nil || i.topicsByID[t.ID] != nil || t.ID >= i.nextTopic {
			return nil, fmt.Errorf("topic %d of the list is there twice or out of bounds", n)
		}
		if t.Config == nil {
			t.Config = map[string]string{}
		}
		i.topics[t.Name], i.topicsByID[t.ID] = t, t
	}
	for n, m := range b.Modules {
		if m == nil {
			return nil, fmt.Errorf("module %d of the list is null", n)
		}
		versions := i.modules[m.Name]
		if m.Version < 1 || len(versions) > 0 && versions[len(versions)-1].Version >= m.Version {
			return nil, fmt.Errorf("module %d of the list is out of order", n)
		}
		i.modules[m.Name] = append(versions, m)
	}
	for n, p := range b.Pipelines {
		if p == nil || i.pipelines[p.Topic] != nil {
			return nil, fmt.Errorf("pipeline %d of the list is there twice", n)
		}
		i.pipelines[p.Topic] = p
	}
	for n, v := range b.Views {
		if v == nil || i.views[v.Name] != nil {
			return nil, fmt.Errorf("view %d of the list is there twice", n)
		}
		i.views[v.Name] = v
	}
	for n, d := range b.Derivations {
		if d == nil || i.derivations[d.Name] != nil {
			return nil, fmt.Errorf("derivation %d of the list is there twice", n)
		}
		i.derivations[d.Name] = d
	}
	return i, i.compactConfigs()
}

// compactConfigs removes insignificant space from stage configurations, as ResolveStages does.
func (i *Image) compactConfigs() error {
	for _, u := range i.users() {
		for n := range u.stages {
			if len(u.stages[n].Config) == 0 {
				continue
			}
			var buf bytes.Buffer
			if err := json.Compact(&buf, u.stages[n].Config); err != nil {
				return fmt.Errorf("%s: stage %d: %w", u.label, n, err)
			}
			u.stages[n].Config = buf.Bytes()
		}
	}
	return nil
}
