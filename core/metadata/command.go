package metadata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

// MaxCommandBytes bounds one encoded command.
const MaxCommandBytes = 1 << 20

// Command is a change of the metadata that is not applied yet. The structs of this package implement it;
// they are plain data.
type Command interface {
	// kind is the command's type in the envelope and the version of its encoding: the oldest that says
	// all of it, so that brokers of versions before read what they can carry out.
	kind() (name string, version int)
	// apply changes next, a copy that belongs to the caller, at the time at. After an error, which is an
	// *errcode.Error, next is discarded. It must copy what it keeps of the command.
	apply(next *Image, at time.Time) (Result, error)
}

// CreateTopic makes a topic. Zero Partitions or Replication mean 1.
type CreateTopic struct {
	Name        string            `json:"name"`
	Partitions  int32             `json:"partitions,omitempty"`
	Replication int16             `json:"replication,omitempty"`
	Config      map[string]string `json:"config,omitempty"`
}

// AlterTopic changes a topic. Partitions may only grow (0: unchanged); a null value in Config resets the
// key to its default.
type AlterTopic struct {
	Name       string             `json:"name"`
	Partitions int32              `json:"partitions,omitempty"`
	Config     map[string]*string `json:"config,omitempty"`
}

// DeleteTopic removes a topic and its write pipeline. It is refused while anything else names it.
type DeleteTopic struct {
	Name string `json:"name"`
}

// AddModule adds a version of a module, unless the newest one has the same bytes.
type AddModule struct {
	Name   string   `json:"name"`
	SHA256 string   `json:"sha256"` // lower-case hex
	Size   int64    `json:"size"`   // bytes
	ABI    string   `json:"abi"`
	Fields []string `json:"fields,omitempty"` // key, value, headers, timestamp
}

// DeleteModule removes a version of a module, or with Version 0 all of them. It is refused while
// anything names one.
type DeleteModule struct {
	Name    string `json:"name"`
	Version int    `json:"version,omitempty"`
}

// SetPipeline makes stages a topic's write pipeline. Stages without a version get the newest one now.
type SetPipeline struct {
	Topic  string  `json:"topic"`
	Stages []Stage `json:"stages"`
	// Expected is the version that the pipeline must have, 0 for none yet; nil takes any.
	Expected *uint64 `json:"expected,omitempty"`
}

// DeletePipeline removes a topic's write pipeline.
type DeletePipeline struct {
	Topic    string  `json:"topic"`
	Expected *uint64 `json:"expected,omitempty"` // as in SetPipeline
}

// PutView makes or replaces a view.
type PutView struct {
	Name     string  `json:"name"`
	Topic    string  `json:"topic"`
	Stages   []Stage `json:"stages"`
	Expected *uint64 `json:"expected,omitempty"` // as in SetPipeline
}

// DeleteView removes a view.
type DeleteView struct {
	Name     string  `json:"name"`
	Expected *uint64 `json:"expected,omitempty"` // as in SetPipeline
}

// PutDerivation makes a derivation, or replaces an existing one's stages. Its topic, output and start
// cannot change, because its progress is counted in them.
type PutDerivation struct {
	Name      string  `json:"name"`
	Topic     string  `json:"topic"`
	Output    string  `json:"output"`
	StartFrom string  `json:"start_from,omitempty"` // "earliest" (default) or "latest"
	Stages    []Stage `json:"stages"`
	Expected  *uint64 `json:"expected,omitempty"` // as in SetPipeline
}

// DeleteDerivation removes a derivation.
type DeleteDerivation struct {
	Name     string  `json:"name"`
	Expected *uint64 `json:"expected,omitempty"` // as in SetPipeline
}

// AllocateProducerIDs takes a block of producer ids, which are never allocated again.
type AllocateProducerIDs struct {
	Count int32 `json:"count"` // 1 to MaxProducerIDBlock
}

// SetClusterInfo gives a new cluster its id. It never changes after that.
type SetClusterInfo struct {
	ClusterID string `json:"cluster_id"`
}

// Kind is the name of a command's type in the log.
func Kind(c Command) string {
	name, _ := c.kind()
	return name
}

func (CreateTopic) kind() (string, int)         { return "create_topic", 1 }
func (AlterTopic) kind() (string, int)          { return "alter_topic", 1 }
func (DeleteTopic) kind() (string, int)         { return "delete_topic", 1 }
func (AddModule) kind() (string, int)           { return "add_module", 1 }
func (DeleteModule) kind() (string, int)        { return "delete_module", 1 }
func (SetPipeline) kind() (string, int)         { return "set_pipeline", 1 }
func (DeletePipeline) kind() (string, int)      { return "delete_pipeline", 1 }
func (c PutView) kind() (string, int)           { return "put_view", conditional(c.Expected) }
func (c DeleteView) kind() (string, int)        { return "delete_view", conditional(c.Expected) }
func (c PutDerivation) kind() (string, int)     { return "put_derivation", conditional(c.Expected) }
func (c DeleteDerivation) kind() (string, int)  { return "delete_derivation", conditional(c.Expected) }
func (AllocateProducerIDs) kind() (string, int) { return "allocate_producer_ids", 1 }
func (SetClusterInfo) kind() (string, int)      { return "set_cluster_info", 1 }

// conditional is the version of a command that got its Expected later: 2 when it is set.
func conditional(expected *uint64) int {
	if expected != nil {
		return 2
	}
	return 1
}

// decoders read the data of every command that this version knows.
var decoders = map[string]func([]byte) (Command, error){
	"create_topic":          decodeAs[CreateTopic],
	"alter_topic":           decodeAs[AlterTopic],
	"delete_topic":          decodeAs[DeleteTopic],
	"add_module":            decodeAs[AddModule],
	"delete_module":         decodeAs[DeleteModule],
	"set_pipeline":          decodeAs[SetPipeline],
	"delete_pipeline":       decodeAs[DeletePipeline],
	"put_view":              decodeAs[PutView],
	"delete_view":           decodeAs[DeleteView],
	"put_derivation":        decodeAs[PutDerivation],
	"delete_derivation":     decodeAs[DeleteDerivation],
	"allocate_producer_ids": decodeAs[AllocateProducerIDs],
	"set_cluster_info":      decodeAs[SetClusterInfo],
}

// newest are the versions of the commands that have more than one.
var newest = map[string]int{"put_view": 2, "delete_view": 2, "put_derivation": 2, "delete_derivation": 2}

func decodeAs[C Command](data []byte) (Command, error) {
	var c C
	if err := strict(data, &c); err != nil {
		return nil, err
	}
	return c, nil
}

// Entry is a command in the log, with the time at which it was proposed. Apply knows no other time.
type Entry struct {
	At      time.Time
	Command Command
}

// envelope is an Entry's encoding: a JSON object, its members in this order.
type envelope struct {
	Type    string          `json:"type"`
	Version int             `json:"v"`
	At      time.Time       `json:"at"`
	Data    json.RawMessage `json:"data"`
}

// EncodeEntry is the entry's bytes in the log. The caller owns them.
func EncodeEntry(e Entry) ([]byte, error) {
	if e.Command == nil {
		return nil, errcode.New(errcode.InvalidRequest, "encode metadata command: there is none")
	}
	kind, version := e.Command.kind()
	data, err := marshal(e.Command)
	if err != nil {
		return nil, errcode.New(errcode.InvalidRequest, "encode metadata command %s: %w", kind, err)
	}
	out, err := marshal(envelope{kind, version, e.At.UTC().Truncate(time.Millisecond), data})
	if err != nil {
		return nil, errcode.New(errcode.InvalidRequest, "encode metadata command %s: %w", kind, err)
	}
	if len(out) > MaxCommandBytes {
		return nil, errcode.New(errcode.RecordListTooLarge, "metadata command %s takes %d bytes, the most is %d: make its configuration smaller",
			kind, len(out), MaxCommandBytes)
	}
	return out, nil
}

// DecodeEntry reads what EncodeEntry wrote. A type or version that this broker does not know is
// UNSUPPORTED_VERSION; bytes that are no command are INVALID_REQUEST.
func DecodeEntry(data []byte) (Entry, error) {
	if len(data) > MaxCommandBytes {
		return Entry{}, errcode.New(errcode.RecordListTooLarge, "metadata command takes %d bytes, the most is %d", len(data), MaxCommandBytes)
	}
	var env envelope
	if err := strict(data, &env); err != nil {
		return Entry{}, errcode.New(errcode.InvalidRequest, "decode metadata command: %w", err)
	}
	decode, known := decoders[env.Type]
	if !known {
		return Entry{}, errcode.New(errcode.UnsupportedVersion, "metadata command %q is not known to this version of the broker", clip(env.Type))
	}
	if env.Version < 1 || env.Version > max(1, newest[env.Type]) {
		return Entry{}, errcode.New(errcode.UnsupportedVersion, "version %d of metadata command %s is not known to this version of the broker", env.Version, env.Type)
	}
	command, err := decode(env.Data)
	if err != nil {
		return Entry{}, errcode.New(errcode.InvalidRequest, "decode metadata command %s: %w", env.Type, err)
	}
	if _, version := command.kind(); version != env.Version {
		return Entry{}, errcode.New(errcode.UnsupportedVersion, "metadata command %s says that it is of version %d, and is of version %d", env.Type, env.Version, version)
	}
	return Entry{env.At, command}, nil
}

// strict decodes exactly one JSON value into to. It refuses unknown members: a replica that ignored one
// would compute another state than a replica that knows it.
func strict(data []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("something follows at byte %d", dec.InputOffset())
	}
	return nil
}

// marshal is compact JSON without HTML's escapes.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}
