package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/benchmarks/load"
	"github.com/wasmill/wasmill/benchmarks/rawlimit"
	"github.com/wasmill/wasmill/cmd/wasmill/internal/config"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// benchFlags describe a benchmark.
type benchFlags struct {
	mode        string
	topic       string
	keep        bool
	start       bool
	data        string
	flush       string
	recordBytes config.Bytes
	batchBytes  config.Bytes
	fetchBytes  config.Bytes
	rawFile     config.Bytes
	connections int
	partitions  int32
	duration    time.Duration
	raw         bool
}

func (a *app) benchCommand() *cobra.Command {
	f := benchFlags{recordBytes: 1 << 10, batchBytes: 64 << 10, fetchBytes: 1 << 20, rawFile: 1 << 30}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a broker's throughput and latency",
		Long: `Measure a broker's throughput and latency: record batches in and out over --connections connections,
each of which sends its next request when the last one is answered.

--raw measures in the same run what the machine gives without a broker (bytes over loopback TCP into
a preallocated file and back, with the same sizes, connections and durability) and prints the ratio.
It uses the disk of --data, which should be the broker's, and this machine, which should be too.

--start runs a broker for the benchmark, in a directory of its own, and removes both afterwards.`,
		Example: `  wasmill bench --start --raw
  wasmill bench --duration 30s --connections 8 --partitions 8 --record-bytes 100
  wasmill bench --start --flush relaxed --mode produce --json`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.mode, "mode", "both", "produce, fetch (of what the topic holds) or both")
	fl.StringVar(&f.topic, "topic", "", "topic to use (default: one that is made for it and deleted afterwards)")
	fl.BoolVar(&f.keep, "keep", false, "keep the topic that was made")
	fl.BoolVar(&f.start, "start", false, "start a broker for the benchmark")
	fl.StringVar(&f.data, "data", os.TempDir(), "directory below which --start and --raw put their files")
	fl.Lookup("data").DefValue = "the system's for temporary files"
	fl.StringVar(&f.flush, "flush", "fsync", "fsync or relaxed: when a write is acknowledged")
	fl.Var(&f.recordBytes, "record-bytes", "value of a record")
	fl.Var(&f.batchBytes, "batch-bytes", "record batch")
	fl.Var(&f.fetchBytes, "fetch-bytes", "most that one fetch asks for")
	fl.Var(&f.rawFile, "raw-file-bytes", "file of --raw, written round and round")
	fl.IntVarP(&f.connections, "connections", "c", 4, "connections at a time")
	fl.Int32VarP(&f.partitions, "partitions", "p", 4, "partitions of the topic")
	fl.DurationVarP(&f.duration, "duration", "d", 10*time.Second, "of each measurement")
	fl.BoolVar(&f.raw, "raw", false, "measure the machine's own limit too")
	complete(cmd, "mode", "produce", "fetch", "both")
	complete(cmd, "flush", "fsync", "relaxed")
	return cmd
}

func (f *benchFlags) check(cmd *cobra.Command) error {
	switch {
	case f.mode != "produce" && f.mode != "fetch" && f.mode != "both":
		return usage(cmd, "unknown --mode %q: one of produce, fetch, both", f.mode)
	case f.flush != "fsync" && f.flush != "relaxed":
		return usage(cmd, "unknown --flush %q: one of fsync, relaxed", f.flush)
	case f.mode == "fetch" && f.topic == "":
		return usage(cmd, "--mode fetch needs a --topic that holds records")
	case f.recordBytes < 1 || f.recordBytes > 1<<20, f.batchBytes < 1 || f.batchBytes > 1<<20, f.fetchBytes < 1 || f.fetchBytes > 64<<20:
		return usage(cmd, "--record-bytes and --batch-bytes must be 1 to 1MiB, --fetch-bytes 1 to 64MiB")
	case f.connections < 1 || f.connections > 10_000, f.partitions < 1, f.duration <= 0:
		return usage(cmd, "--connections must be 1 to 10,000, --partitions and --duration positive")
	case f.rawFile < f.batchBytes*2:
		return usage(cmd, "--raw-file-bytes must hold two batches")
	}
	return nil
}

// benchReport is the stable shape of bench --json.
type benchReport struct {
	Server      string       `json:"server"`
	Flush       string       `json:"flush"`
	RecordBytes int64        `json:"record_bytes"`
	BatchBytes  int64        `json:"batch_bytes"`
	Connections int          `json:"connections"`
	Partitions  int32        `json:"partitions"`
	Phases      []benchPhase `json:"phases"`
}

// benchPhase is one measurement. Raw and Ratio are 0 without --raw, RecordsPerSecond where records
// are not looked at.
type benchPhase struct {
	Phase             string       `json:"phase"`
	Bytes             int64        `json:"bytes"`
	Records           int64        `json:"records,omitempty"`
	Requests          int64        `json:"requests"`
	ElapsedMS         float64      `json:"elapsed_ms"`
	BytesPerSecond    float64      `json:"bytes_per_second"`
	RecordsPerSecond  float64      `json:"records_per_second,omitempty"`
	LatencyMS         benchLatency `json:"latency_ms"`
	RawBytesPerSecond float64      `json:"raw_bytes_per_second,omitempty"`
	Ratio             float64      `json:"ratio,omitempty"`
}

type benchLatency struct {
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func (a *app) bench(ctx context.Context, f benchFlags) (err error) {
	if f.start {
		broker, err := a.startBroker(ctx, f.data)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, broker.stop()) }()
		a.server = broker.url
	}
	return a.withClient(func(c *client.Client) (err error) {
		if f.topic == "" {
			f.topic = fmt.Sprintf("bench-%08x", rand.Uint32())
			_, err := c.CreateTopic(ctx, client.TopicSpec{Name: f.topic, Partitions: f.partitions, Config: map[string]string{"flush": f.flush}})
			if err != nil {
				return err
			}
			if !f.keep {
				defer func() { err = errors.Join(err, c.DeleteTopic(context.WithoutCancel(ctx), f.topic)) }()
			}
		} else if f.partitions, err = c.PartitionCount(ctx, f.topic); err != nil {
			return err
		}
		report, err := a.measure(ctx, f)
		if err != nil {
			return err
		}
		return a.output(report, func(w io.Writer) error { return a.benchTable(w, report, f.raw) })
	})
}

// measure runs the phases one after the other, each with its raw limit right after it.
func (a *app) measure(ctx context.Context, f benchFlags) (*benchReport, error) {
	report := &benchReport{
		Server: a.server, Flush: f.flush, RecordBytes: int64(f.recordBytes), BatchBytes: int64(f.batchBytes),
		Connections: f.connections, Partitions: f.partitions,
	}
	o := load.Options{
		Server: a.server, Topic: f.topic, Partitions: f.partitions, RecordBytes: int(f.recordBytes), BatchBytes: int(f.batchBytes),
		Connections: f.connections, Duration: f.duration,
	}
	raw := rawlimit.Options{
		Dir: f.data, BatchBytes: int(f.batchBytes), Connections: f.connections, Duration: f.duration,
		FileBytes: int64(f.rawFile), Sync: f.flush == "fsync",
	}
	for _, p := range []struct {
		name string
		run  func() (load.Result, error)
		raw  func(context.Context, rawlimit.Options) (rawlimit.Result, error)
	}{
		{"produce", func() (load.Result, error) { return load.Produce(ctx, o) }, rawlimit.Produce},
		{"fetch", func() (load.Result, error) { return load.Fetch(ctx, o, int(f.fetchBytes)) }, rawlimit.Fetch},
	} {
		if f.mode != "both" && f.mode != p.name {
			continue
		}
		a.say("%s for %v ...", p.name, f.duration)
		r, err := p.run()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		phase := phaseOf(p.name, r)
		if f.raw {
			a.say("raw limit of %s for %v ...", p.name, f.duration)
			limit, err := p.raw(ctx, raw)
			if err != nil {
				return nil, err
			}
			phase.RawBytesPerSecond = limit.BytesPerSecond()
			phase.Ratio = phase.BytesPerSecond / phase.RawBytesPerSecond
		}
		report.Phases = append(report.Phases, phase)
		if err := ctx.Err(); err != nil {
			return report, err
		}
	}
	return report, nil
}

func phaseOf(name string, r load.Result) benchPhase {
	ms := func(p float64) float64 { return float64(r.Percentile(p).Microseconds()) / 1000 }
	return benchPhase{
		Phase: name, Bytes: r.Bytes, Records: r.Records, Requests: int64(len(r.Latencies)),
		ElapsedMS: float64(r.Elapsed.Microseconds()) / 1000, BytesPerSecond: r.BytesPerSecond(),
		RecordsPerSecond: float64(r.Records) / r.Elapsed.Seconds(),
		LatencyMS:        benchLatency{P50: ms(0.5), P95: ms(0.95), P99: ms(0.99), P999: ms(0.999), Max: ms(1)},
	}
}

func (a *app) benchTable(w io.Writer, r *benchReport, raw bool) error {
	fmt.Fprintf(w, "%s records in %s batches, %s, %s, flush=%s, %s\n\n", size(r.RecordBytes), size(r.BatchBytes),
		plural(int64(r.Connections), "connection"), plural(int64(r.Partitions), "partition"), r.Flush, r.Server)
	header := table.Row{"", "rate", "records/s", "requests/s", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "max ms"}
	if raw {
		header = append(header, "raw limit", "ratio")
	}
	t := a.newTable(header, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	for _, p := range r.Phases {
		records := "-"
		if p.Records > 0 {
			records = count(int64(p.RecordsPerSecond))
		}
		row := table.Row{p.Phase, perSecond(p.BytesPerSecond), records, count(rate(p.Requests, time.Duration(p.ElapsedMS*1e6)))}
		for _, ms := range []float64{p.LatencyMS.P50, p.LatencyMS.P95, p.LatencyMS.P99, p.LatencyMS.P999, p.LatencyMS.Max} {
			row = append(row, fmt.Sprintf("%.2f", ms))
		}
		if raw {
			row = append(row, perSecond(p.RawBytesPerSecond), fmt.Sprintf("%.0f %%", 100*p.Ratio))
		}
		t.AppendRow(row)
	}
	return render(w, t)
}

// perSecond is a rate in the unit that benchmarks are compared in: 1 MB is 1,000,000 bytes.
func perSecond(bytes float64) string { return fmt.Sprintf("%.1f MB/s", bytes/1e6) }
