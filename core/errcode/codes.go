package errcode

import (
	"net/http"
	"slices"
	"strconv"
)

// Code names one kind of failure. The number and the name are part of the protocol: neither is ever
// given a second meaning. A code is Kafka's wherever Kafka has one for the same thing; Wasmill's own
// begin at 1000.
type Code int16

// The codes. The table below says what each means.
const (
	Unknown                     Code = -1
	OffsetOutOfRange            Code = 1
	CorruptMessage              Code = 2
	UnknownTopicOrPartition     Code = 3
	NotLeaderOrFollower         Code = 6
	RequestTimedOut             Code = 7
	MessageTooLarge             Code = 10
	InvalidTopic                Code = 17
	RecordListTooLarge          Code = 18
	UnsupportedVersion          Code = 35
	TopicAlreadyExists          Code = 36
	InvalidPartitions           Code = 37
	InvalidReplicationFactor    Code = 38
	InvalidConfig               Code = 40
	InvalidRequest              Code = 42
	UnsupportedForMessageFormat Code = 43
	OutOfOrderSequence          Code = 45
	DuplicateSequence           Code = 46
	InvalidProducerEpoch        Code = 47
	StorageFailed               Code = 56
	UnsupportedCompressionType  Code = 76
	InvalidRecord               Code = 87
	ThrottlingQuotaExceeded     Code = 89

	InvalidJSON           Code = 1000
	UnsupportedMediaType  Code = 1001
	NotAcceptable         Code = 1002
	DiskFull              Code = 1003
	Overloaded            Code = 1004
	ShuttingDown          Code = 1005
	RequestIncomplete     Code = 1006
	InvalidModule         Code = 1010
	UnknownModule         Code = 1011
	ModuleInUse           Code = 1012
	InvalidPipeline       Code = 1013
	UnknownView           Code = 1014
	UnknownDerivation     Code = 1015
	ViewReadOnly          Code = 1016
	AlreadyExists         Code = 1017
	TransformFailed       Code = 1018
	MethodNotAllowed      Code = 1020
	NotFound              Code = 1021
	DecompressionTooLarge Code = 1022
	VersionConflict       Code = 1023
	TopicInUse            Code = 1024
	OverlappingSequence   Code = 1025
)

// Info is what the table says about a code.
type Info struct {
	Code       Code
	Name       string // UPPER_SNAKE, never changes
	Retriable  bool   // the same request may succeed later, unchanged
	HTTPStatus int
	Summary    string // one sentence, for people
}

// table is sorted by code: lookup depends on it.
var table = []Info{
	{Unknown, "UNKNOWN", false, http.StatusInternalServerError, "The broker failed in a way that it has no code for; its log says more."},
	{OffsetOutOfRange, "OFFSET_OUT_OF_RANGE", false, http.StatusRequestedRangeNotSatisfiable, "The offset lies before the log start offset or past the high watermark; both are in the answer."},
	{CorruptMessage, "CORRUPT_MESSAGE", false, http.StatusBadRequest, "A record batch is damaged: its checksum, a length or a count does not fit its bytes."},
	{UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION", false, http.StatusNotFound, "There is no topic or view of this name, or no such partition in it."},
	{NotLeaderOrFollower, "NOT_LEADER_OR_FOLLOWER", true, http.StatusServiceUnavailable, "The partition has no leader that can be reached just now."},
	{RequestTimedOut, "REQUEST_TIMED_OUT", true, http.StatusGatewayTimeout, "The request was not finished in time; whether a write took effect is not known."},
	{MessageTooLarge, "MESSAGE_TOO_LARGE", false, http.StatusRequestEntityTooLarge, "A record or a record batch is larger than the topic takes."},
	{InvalidTopic, "INVALID_TOPIC", false, http.StatusBadRequest, "The name is not a legal topic name, or collides with another one."},
	{RecordListTooLarge, "RECORD_LIST_TOO_LARGE", false, http.StatusRequestEntityTooLarge, "The request's body, or its number of records, is over the broker's limit."},
	{UnsupportedVersion, "UNSUPPORTED_VERSION", false, http.StatusBadRequest, "This version of the broker does not know the request, command or format version."},
	{TopicAlreadyExists, "TOPIC_ALREADY_EXISTS", false, http.StatusConflict, "A topic or a view of this name is there already."},
	{InvalidPartitions, "INVALID_PARTITIONS", false, http.StatusBadRequest, "The number of partitions is out of bounds, or lower than it was."},
	{InvalidReplicationFactor, "INVALID_REPLICATION_FACTOR", false, http.StatusBadRequest, "The replication factor is out of bounds or above the number of brokers."},
	{InvalidConfig, "INVALID_CONFIG", false, http.StatusBadRequest, "A configuration key is unknown or its value is not acceptable."},
	{InvalidRequest, "INVALID_REQUEST", false, http.StatusBadRequest, "The request contradicts itself or lacks something."},
	{UnsupportedForMessageFormat, "UNSUPPORTED_FOR_MESSAGE_FORMAT", false, http.StatusBadRequest, "The record batch is not of format version 2."},
	{OutOfOrderSequence, "OUT_OF_ORDER_SEQUENCE", false, http.StatusConflict, "An idempotent producer's sequence number does not follow on the last one: a batch is missing."},
	{DuplicateSequence, "DUPLICATE_SEQUENCE", false, http.StatusConflict, "Not sent any more: a batch that was written before is answered as a success, and one older than what is remembered with OUT_OF_ORDER_SEQUENCE."},
	{InvalidProducerEpoch, "INVALID_PRODUCER_EPOCH", false, http.StatusConflict, "A producer with a newer epoch has taken this producer's place."},
	{StorageFailed, "STORAGE_FAILED", false, http.StatusServiceUnavailable, "The partition's storage failed; it takes no writes until the broker was restarted on a sound disk."},
	{UnsupportedCompressionType, "UNSUPPORTED_COMPRESSION_TYPE", false, http.StatusBadRequest, "The record batch names a compression codec that does not exist."},
	{InvalidRecord, "INVALID_RECORD", false, http.StatusUnprocessableEntity, "Records are broken or were rejected by a transform; the answer says which and why."},
	{ThrottlingQuotaExceeded, "THROTTLING_QUOTA_EXCEEDED", true, http.StatusTooManyRequests, "The client is over its quota; wait as long as Retry-After says."},
	{InvalidJSON, "INVALID_JSON", false, http.StatusBadRequest, "The body is not the JSON that the call wants; the answer says where."},
	{UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", false, http.StatusUnsupportedMediaType, "The call does not take this Content-Type."},
	{NotAcceptable, "NOT_ACCEPTABLE", false, http.StatusNotAcceptable, "The call cannot answer in any of the forms that Accept names."},
	{DiskFull, "DISK_FULL", true, http.StatusInsufficientStorage, "The disk is full: reads go on, writes succeed again when there is space."},
	{Overloaded, "OVERLOADED", true, http.StatusServiceUnavailable, "Too many requests are pending; wait as long as Retry-After says."},
	{ShuttingDown, "SHUTTING_DOWN", true, http.StatusServiceUnavailable, "The broker is shutting down or not yet up."},
	{RequestIncomplete, "REQUEST_INCOMPLETE", false, http.StatusBadRequest, "The body ended before its announced length, or came too slowly."},
	{InvalidModule, "INVALID_MODULE", false, http.StatusUnprocessableEntity, "The bytes are not a WebAssembly module that can be a transform; the answer says what is missing."},
	{UnknownModule, "UNKNOWN_MODULE", false, http.StatusNotFound, "There is no module of this name or version."},
	{ModuleInUse, "MODULE_IN_USE", false, http.StatusConflict, "The module version is named by a pipeline, a view or a derivation."},
	{InvalidPipeline, "INVALID_PIPELINE", false, http.StatusUnprocessableEntity, "A stage is not acceptable: its policy, its dead-letter topic, its limits or its configuration."},
	{UnknownView, "UNKNOWN_VIEW", false, http.StatusNotFound, "There is no view of this name."},
	{UnknownDerivation, "UNKNOWN_DERIVATION", false, http.StatusNotFound, "There is no derivation of this name."},
	{ViewReadOnly, "VIEW_READ_ONLY", false, http.StatusMethodNotAllowed, "A view cannot be written to; write to its topic."},
	{AlreadyExists, "ALREADY_EXISTS", false, http.StatusConflict, "Something else of this name is there already."},
	{TransformFailed, "TRANSFORM_FAILED", false, http.StatusUnprocessableEntity, "A module trapped, ran over its limits or gave back actions that make no sense."},
	{MethodNotAllowed, "METHOD_NOT_ALLOWED", false, http.StatusMethodNotAllowed, "The resource does not take this HTTP method; Allow names those that it takes."},
	{NotFound, "NOT_FOUND", false, http.StatusNotFound, "There is nothing at this address."},
	{DecompressionTooLarge, "DECOMPRESSION_TOO_LARGE", false, http.StatusRequestEntityTooLarge, "Compressed records would unpack to more than the broker allows."},
	{VersionConflict, "VERSION_CONFLICT", false, http.StatusPreconditionFailed, "Someone else changed it since the version that the request names; read it again."},
	{TopicInUse, "TOPIC_IN_USE", false, http.StatusConflict, "Views, derivations or pipelines name the topic; the answer lists them."},
	{OverlappingSequence, "OVERLAPPING_SEQUENCE", false, http.StatusConflict, "An idempotent producer's batch repeats sequences that were written and brings others that may not have been; nothing of it was written."},
}

// Info is the code's row of the table. A code that the table lacks, as one sent by a newer broker,
// is described as a failure that must not be retried.
func (c Code) Info() Info {
	i, ok := slices.BinarySearchFunc(table, c, func(row Info, c Code) int { return int(row.Code) - int(c) })
	if !ok {
		return Info{
			Code:       c,
			Name:       "CODE_" + strconv.Itoa(int(c)),
			HTTPStatus: http.StatusInternalServerError,
			Summary:    "A code that this version does not know.",
		}
	}
	return table[i]
}

// String is the code's name.
func (c Code) String() string { return c.Info().Name }

// Table is every code, sorted by number. The caller owns the slice.
func Table() []Info { return slices.Clone(table) }
