package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

// TestRecordsAreDecodedOnce counts how often the records of a request are read on their way in, in every shape
// that a request can have, and checks that what arrives is the same.
func TestRecordsAreDecodedOnce(t *testing.T) {
	b := start(t, Options{})
	stages := pushCommands(t, b)
	for _, name := range []string{"plain", "piped"} {
		makeTopic(t, b, name+"1", 1)
		makeTopic(t, b, name+"4", 4)
	}
	for _, name := range []string{"piped1", "piped4"} {
		if _, _, err := b.SetPipeline(t.Context(), name, api.PipelineSpec{Stages: stages}, nil); err != nil {
			t.Fatal(err)
		}
	}
	records := recordtest.Pairs("a=keep", "b=drop", "c=emitx", "d=keep too", "e=keep", "f=drop", "g=FXY", "h=k")
	batches := func(codec record.Codec, n int) (body []byte) {
		for range n {
			body = append(body, recordtest.Build(t, record.BuilderOptions{Codec: codec}, records...)...)
		}
		return body
	}
	batch := func(number int32, codec record.Codec, n int) func(topicName string) error {
		return func(topicName string) error {
			_, err := b.ProduceBatches(t.Context(), topicName, number, batches(codec, n))
			return err
		}
	}
	single := func(number int32) func(topicName string) error {
		return func(topicName string) error {
			var inputs []InputRecord
			for _, r := range records {
				inputs = append(inputs, InputRecord{Record: r, Partition: number})
			}
			_, err := b.ProduceRecords(t.Context(), topicName, inputs)
			return err
		}
	}
	for _, c := range []struct {
		name    string
		topic   string
		produce func(topicName string) error
		decodes int64
	}{
		{"batch", "plain4", batch(1, record.CodecNone, 1), 1},
		{"compressed batch", "plain4", batch(1, record.CodecZstd, 1), 1},
		{"compressed batch by key", "plain4", batch(AnyPartition, record.CodecZstd, 1), 1},
		{"compressed batches by key", "plain4", batch(AnyPartition, record.CodecGzip, 3), 3},
		{"compressed batch, any of one partition", "plain1", batch(AnyPartition, record.CodecZstd, 1), 1},
		{"records", "plain4", single(AnyPartition), 0},
		{"batch, pipeline", "piped4", batch(1, record.CodecNone, 1), 1},
		{"compressed batch, pipeline", "piped4", batch(1, record.CodecZstd, 1), 1},
		{"compressed batch by key, pipeline", "piped4", batch(AnyPartition, record.CodecZstd, 1), 1},
		{"compressed batches by key, pipeline", "piped4", batch(AnyPartition, record.CodecLZ4, 3), 3},
		{"compressed batch, any of one partition, pipeline", "piped1", batch(AnyPartition, record.CodecZstd, 1), 1},
		{"records, pipeline", "piped1", single(AnyPartition), 0},
		{"records by key, pipeline", "piped4", single(AnyPartition), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			ends := highWatermarks(t, b, c.topic)
			before := b.writer.unpack.Decodes()
			if err := c.produce(c.topic); err != nil {
				t.Fatal(err)
			}
			if n := b.writer.unpack.Decodes() - before; n != c.decodes {
				t.Errorf("the records were read %d times, %d are enough", n, c.decodes)
			}
			var want []string
			for range max(1, int(c.decodes)) {
				if strings.HasPrefix(c.topic, "piped") {
					want = append(want, "keep", "emit", "keep too", "keep", "FXY", "FXY", "k")
				} else {
					want = append(want, "keep", "drop", "emitx", "keep too", "keep", "drop", "FXY", "k")
				}
			}
			got := valuesFrom(t, b, c.topic, ends)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("the topic got %q, want %q", got, want)
			}
		})
	}
}

func highWatermarks(t *testing.T, b *Broker, topicName string) (ends []int64) {
	t.Helper()
	info, err := b.Topic(t.Context(), topicName)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range info.State {
		ends = append(ends, s.HighWatermark)
	}
	return ends
}

func valuesFrom(t *testing.T, b *Broker, topicName string, from []int64) (values []string) {
	t.Helper()
	for number, offset := range from {
		resp, err := b.Fetch(t.Context(), FetchRequest{Partitions: []FetchPartition{
			{Topic: topicName, Partition: int32(number), Offset: offset},
		}})
		if err != nil || resp.Partitions[0].Err != nil {
			t.Fatal(err, resp.Partitions[0].Err)
		}
		values = append(values, recordtest.ValuesOf(t, resp.Partitions[0].Batches)...)
		resp.Release()
	}
	return values
}

// BenchmarkProduceDecoded is a produce request whose records are needed on the way: to be split by key, for
// the pipeline, or both.
func BenchmarkProduceDecoded(b *testing.B) {
	var records []record.Record
	for i := range 64 {
		records = append(records, record.Record{
			Timestamp: 1, Key: fmt.Append(nil, i), Value: []byte(strings.Repeat(fmt.Sprintf(`keep {"level":"error","n":%d},`, i), 32)),
		})
	}
	for _, codec := range []record.Codec{record.CodecNone, record.CodecZstd} {
		for _, name := range []string{"split", "pipeline", "split and pipeline"} {
			b.Run(fmt.Sprint(name, "/", codec), func(b *testing.B) {
				broker := start(b, Options{})
				benchmarkTopic(b, broker, name != "split")
				number := AnyPartition
				if name == "pipeline" {
					number = 0
				}
				sent := recordtest.Build(b, record.BuilderOptions{Codec: codec}, records...)
				body := slices.Clone(sent)
				b.ReportAllocs()
				for b.Loop() {
					copy(body, sent)
					if _, err := broker.ProduceBatches(b.Context(), "load", number, body); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	for _, piped := range []bool{false, true} {
		b.Run(fmt.Sprint("records/pipeline=", piped), func(b *testing.B) {
			broker := start(b, Options{})
			benchmarkTopic(b, broker, piped)
			var inputs []InputRecord
			for _, r := range records {
				inputs = append(inputs, InputRecord{Record: r, Partition: AnyPartition})
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := broker.ProduceRecords(b.Context(), "load", inputs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchmarkTopic(b *testing.B, broker *Broker, piped bool) {
	b.Helper()
	spec := api.TopicSpec{Name: "load", Partitions: 2, Config: map[string]string{
		"flush": "relaxed", "retention.bytes": "67108864", "segment.bytes": "16777216",
	}}
	if _, err := broker.CreateTopic(b.Context(), spec); err != nil {
		b.Fatal(err)
	}
	if !piped {
		return
	}
	if _, _, err := broker.SetPipeline(b.Context(), "load", api.PipelineSpec{Stages: pushCommands(b, broker)}, nil); err != nil {
		b.Fatal(err)
	}
}
