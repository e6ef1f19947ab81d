package record_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/wasmill/wasmill/core/record"
)

// These tests speak with a Kafka client that nobody here wrote: what it sends must decode with our
// Decoder, and what our Builder makes it must read.

const (
	interopTopic      = "orders"
	interopPartitions = 3
)

var interopCodecs = []struct {
	ours   record.Codec
	theirs kgo.CompressionCodec
}{
	{record.CodecNone, kgo.NoCompression()},
	{record.CodecGzip, kgo.GzipCompression()},
	{record.CodecSnappy, kgo.SnappyCompression()},
	{record.CodecLZ4, kgo.Lz4Compression()},
	{record.CodecZstd, kgo.ZstdCompression()},
}

func startCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(interopPartitions, interopTopic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func connect(t *testing.T, cluster *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.MaxVersions(kversion.V3_0_0()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// theirRecords are records with every peculiarity that the format has.
func theirRecords() []*kgo.Record {
	var out []*kgo.Record
	for i := range 400 {
		r := &kgo.Record{
			Topic: interopTopic, Timestamp: time.UnixMilli(1_700_000_000_000 - int64(i%11)*1000),
			Key: fmt.Appendf(nil, "key-%d", i%50), Value: bytes.Repeat(fmt.Appendf(nil, "%d,", i), i%90),
		}
		switch i % 4 {
		case 1:
			r.Value = nil
		case 2:
			r.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "", Value: nil}, {Key: "a", Value: []byte{}}}
		}
		out = append(out, r)
	}
	return out
}

func same(ours record.Record, theirs *kgo.Record) bool {
	return bytes.Equal(ours.Key, theirs.Key) && bytes.Equal(ours.Value, theirs.Value) &&
		(ours.Key == nil) == (theirs.Key == nil) && (ours.Value == nil) == (theirs.Value == nil) &&
		ours.Timestamp == theirs.Timestamp.UnixMilli() &&
		slices.EqualFunc(ours.Headers, theirs.Headers, func(a record.RecordHeader, b kgo.RecordHeader) bool {
			return string(a.Key) == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
		})
}

// capture collects the bytes of every produce request, by partition.
func capture(cluster *kfake.Cluster) func() map[int32][]byte {
	var mu sync.Mutex
	got := map[int32][]byte{}
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			for _, p := range topic.Partitions {
				got[p.Partition] = append(got[p.Partition], p.Records...)
			}
		}
		return nil, nil, false
	})
	return func() map[int32][]byte {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func TestWhatClientsProduce(t *testing.T) {
	for _, codec := range interopCodecs {
		for _, idempotent := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/idempotent=%t", codec.ours, idempotent), func(t *testing.T) {
				cluster := startCluster(t)
				captured := capture(cluster)
				opts := []kgo.Opt{kgo.ProducerBatchCompression(codec.theirs)}
				if !idempotent {
					opts = append(opts, kgo.DisableIdempotentWrite())
				}
				client := connect(t, cluster, opts...)
				sent := theirRecords()
				if err := client.ProduceSync(context.Background(), sent...).FirstErr(); err != nil {
					t.Fatal(err)
				}
				checkProduced(t, captured(), sent, codec.ours, idempotent)
			})
		}
	}
}

func checkProduced(t *testing.T, bodies map[int32][]byte, sent []*kgo.Record, codec record.Codec, idempotent bool) {
	byPartition := map[int32][]*kgo.Record{}
	for _, r := range sent {
		if p := record.PartitionForKey(r.Key, interopPartitions); p != r.Partition {
			t.Fatalf("key %q: partition %d, the client chose %d", r.Key, p, r.Partition)
		}
		byPartition[r.Partition] = append(byPartition[r.Partition], r)
	}
	decoder := record.NewDecoder(record.Limits{})
	compressed := false
	for partition, want := range byPartition {
		for b, err := range record.All(bodies[partition]) {
			if err != nil {
				t.Fatal(err)
			}
			if err := b.ValidateProduced(record.Limits{}); err != nil {
				t.Fatal(err)
			}
			compressed = compressed || b.Codec() == codec
			if (b.ProducerID() >= 0) != idempotent {
				t.Fatalf("producer id %d", b.ProducerID())
			}
			records, err := decoder.Decode(b, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range records {
				if !same(r, want[i]) {
					t.Fatalf("partition %d: got %+v, want %+v", partition, r, want[i])
				}
			}
			want = want[len(records):]
		}
		if len(want) != 0 {
			t.Fatalf("partition %d: %d records are missing", partition, len(want))
		}
	}
	if !compressed {
		t.Fatalf("no batch was of codec %s: the test tests nothing", codec)
	}
}

// ourBatches are three batches back to back: whole, filtered so that offsets have holes, and emptied.
func ourBatches(t *testing.T, codec record.Codec) (buf []byte, want []record.Record) {
	t.Helper()
	var w record.Builder
	w.Reset(record.BuilderOptions{Codec: codec})
	for i, r := range theirRecords() {
		ours := record.Record{OffsetDelta: int32(i), Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			ours.Headers = append(ours.Headers, record.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		w.Append(ours)
		want = append(want, ours)
	}
	whole, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	n := int32(len(want))
	source := record.Batch(bytes.Clone(whole))
	source.SetBaseOffset(int64(n))
	var u record.Unpacker
	if err := u.Decode(t.Context(), record.NewTestBudget(), source); err != nil {
		t.Fatal(err)
	}
	w.Replace(&u.Decoded)
	for i := range u.Records {
		if i%3 == 1 {
			w.AppendFrom(&u.Decoded, i)
			r := want[i]
			r.OffsetDelta += n
			want = append(want, r)
		}
	}
	if buf, err = w.Build(whole); err != nil {
		t.Fatal(err)
	}
	source.SetBaseOffset(int64(2 * n))
	w.Replace(&u.Decoded)
	if buf, err = w.Build(buf); err != nil {
		t.Fatal(err)
	}
	return buf, want
}

func TestClientsReadWhatWeBuild(t *testing.T) {
	for _, codec := range interopCodecs {
		t.Run(codec.ours.String(), func(t *testing.T) {
			buf, want := ourBatches(t, codec.ours)
			for b, err := range record.All(buf) {
				if err == nil {
					err = b.Validate(record.Limits{})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: interopTopic},
				&kmsg.FetchResponseTopicPartition{RecordBatches: buf, HighWatermark: 1 << 20}, kgo.DefaultDecompressor(), nil)
			if fetched.Err != nil {
				t.Fatal(fetched.Err)
			}
			compare(t, fetched.Records, want)
			if next != 3*int64(len(theirRecords())) {
				t.Errorf("the client goes on at %d: filtered and emptied batches must span their offsets", next)
			}
		})
	}
}

func compare(t *testing.T, got []*kgo.Record, want []record.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Offset != int64(want[i].OffsetDelta) || !same(want[i], got[i]) {
			t.Fatalf("record %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

// TestBrokerTakesWhatWeBuild sends our batches through a broker that checks them and back.
func TestBrokerTakesWhatWeBuild(t *testing.T) {
	for _, codec := range interopCodecs {
		t.Run(codec.ours.String(), func(t *testing.T) {
			cluster := startCluster(t)
			all, want := ourBatches(t, codec.ours)
			first, _, err := record.Split(all)
			if err != nil {
				t.Fatal(err)
			}
			want = want[:first.Count()]
			client := connect(t, cluster, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{interopTopic: {1: kgo.NewOffset().AtStart()}}))
			req := kmsg.NewPtrProduceRequest()
			req.Acks, req.TimeoutMillis = -1, 1000
			topic := kmsg.NewProduceRequestTopic()
			topic.Topic = interopTopic
			partition := kmsg.NewProduceRequestTopicPartition()
			partition.Partition, partition.Records = 1, first
			topic.Partitions = append(topic.Partitions, partition)
			req.Topics = append(req.Topics, topic)
			resp, err := req.RequestWith(context.Background(), client)
			if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
				t.Fatalf("%v, %+v", err, resp)
			}
			var got []*kgo.Record
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			for len(got) < len(want) && ctx.Err() == nil {
				fetches := client.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					t.Fatal(err)
				}
				got = append(got, fetches.Records()...)
			}
			compare(t, got, want)
		})
	}
}
