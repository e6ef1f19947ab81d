package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// produceFlags are the flags of produce.
type produceFlags struct {
	file         string
	format       string
	key          string
	hasKey       bool
	keySeparator string
	headers      []string
	compression  string
	partition    int32
	batchBytes   int
	linger       time.Duration
	patience     time.Duration
	allowRejects bool
	progress     bool
	maxRecord    int
}

func (a *app) produceCommand() *cobra.Command {
	var f produceFlags
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write records to a topic",
		Long: `Write records to a topic, from standard input or a file.

Formats:
  lines    each line is a record's value
  ndjson   each line is a record: {"key": ..., "value": ..., "headers": {...}, "timestamp": ...,
           "partition": ...}, of which all are optional
  json     the same records, in one array or in {"records": [...]}
  raw      the whole input is one record's value
  batches  record batches back to back, as 'consume --format batches' writes them

Delivery is idempotent: repeated attempts never duplicate a record. What the topic's write pipeline
did to the records is counted in the summary. When it rejected any, the exit code is 6 unless
--allow-rejects is given; all other records are written nevertheless.`,
		Example: `  echo hello | wasmill produce greetings
  wasmill produce orders --file orders.ndjson --format ndjson --compression zstd
  tail -F app.log | wasmill produce logs --header host=web-1
  printf 'k1:v1\nk2:v2\n' | wasmill produce pairs --key-separator :
  wasmill produce images --format raw --key logo --file logo.png`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTopics(false),
		RunE: func(cmd *cobra.Command, given []string) error {
			f.hasKey = cmd.Flags().Changed("key")
			return a.produce(cmd, given[0], f)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.file, "file", "f", "-", "file to read, - for standard input")
	fl.StringVar(&f.format, "format", "lines", "lines, ndjson, json, raw or batches")
	fl.StringVarP(&f.key, "key", "k", "", "key of every record that has none of its own")
	fl.StringVar(&f.keySeparator, "key-separator", "", "what ends the key at the beginning of a line")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, "NAME=VALUE header of every record, repeatable")
	fl.StringVar(&f.compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	fl.Int32VarP(&f.partition, "partition", "p", -1, "partition to write to; -1: by key, or in turn")
	fl.IntVar(&f.batchBytes, "batch-bytes", 64<<10, "size at which a batch is sent")
	fl.DurationVar(&f.linger, "linger", 5*time.Millisecond, "how long a batch waits for more records")
	fl.DurationVar(&f.patience, "delivery-timeout", 2*time.Minute, "how long to try to deliver a record")
	fl.IntVar(&f.maxRecord, "max-record-bytes", 8<<20, "longest line or record to take")
	fl.BoolVar(&f.allowRejects, "allow-rejects", false, "exit with 0 although records were rejected")
	fl.BoolVar(&f.progress, "progress", false, "show progress although there is no terminal")
	complete(cmd, "format", "lines", "ndjson", "json", "raw", "batches")
	complete(cmd, "compression", "none", "gzip", "snappy", "lz4", "zstd")
	return cmd
}

// produce checks the flags, opens the input and runs the right loop.
func (a *app) produce(cmd *cobra.Command, topic string, f produceFlags) (err error) {
	codec, err := record.ParseCodec(f.compression)
	if err != nil {
		return usage(cmd, "--compression: %w", err)
	}
	if f.format == "batches" && (f.hasKey || f.keySeparator != "" || len(f.headers) > 0) {
		return usage(cmd, "--format batches takes batches as they are: no --key, --key-separator, --header")
	}
	if f.keySeparator != "" && f.format != "lines" {
		return usage(cmd, "--key-separator goes with --format lines alone")
	}
	if f.maxRecord < 1 || f.batchBytes < 1 || f.patience <= 0 {
		return usage(cmd, "--max-record-bytes, --batch-bytes and --delivery-timeout must be positive")
	}
	headers, err := headerList(cmd, f.headers)
	if err != nil {
		return err
	}
	in, total, err := a.openInput(cmd.Context(), f.file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	bar := a.startProgress(f.progress, total)
	defer bar.finish()
	read := counted{in, bar}
	source, err := newSource(read, f, headers)
	if err != nil {
		return usage(cmd, "%w", err)
	}
	sum := newSummary(topic)
	return a.withClient(func(c *client.Client) error {
		p := production{c, sum, bar}
		var err error
		if f.format == "batches" {
			err = p.batches(cmd.Context(), read, topic, f.partition)
		} else {
			err = p.records(cmd.Context(), source, client.ProducerOptions{
				Topic: topic, Codec: codec, BatchBytes: f.batchBytes, Linger: noZero(f.linger), DeliveryTimeout: f.patience,
			})
		}
		bar.finish()
		if err != nil && sum.Records == 0 {
			return err // there is nothing to sum up
		}
		return errors.Join(a.report(sum), err, sum.verdict(f.allowRejects))
	})
}

// counted adds what was read of the input to the progress.
type counted struct {
	r   io.Reader
	bar *progress
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.bar.add(0, int64(n))
	return n, err
}

// noZero lets a flag's 0 mean none, which options write as a negative number.
func noZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// errInterrupted ends the input when the user does.
var errInterrupted = errors.New("interrupted; what was read before is delivered")

// openInput opens the file, or standard input for "-"; total is its size in bytes, -1 if unknown.
func (a *app) openInput(ctx context.Context, name string) (in io.ReadCloser, total int64, err error) {
	if name == "-" || name == "" {
		if isTerminal(a.In) {
			a.say("Reading from the terminal; end with Ctrl-D.")
		}
		return breakable(ctx, a.In), -1, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, &usageError{err: err, hint: "Name a file that can be read, or - for standard input."}
	}
	total = -1
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		total = info.Size()
	}
	return file, total, nil
}

// breakable reads r until ctx ends: a read that waits for a terminal or a pipe cannot be broken
// off otherwise. The goroutine that waits in it then ends with the process, or with r.
func breakable(ctx context.Context, r io.Reader) io.ReadCloser {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, r)
		pw.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { pw.CloseWithError(errInterrupted) })
	return pr
}

func headerList(cmd *cobra.Command, given []string) ([]record.RecordHeader, error) {
	var out []record.RecordHeader
	for _, kv := range given {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usage(cmd, "--header %q is not NAME=VALUE", kv)
		}
		out = append(out, record.RecordHeader{Key: []byte(k), Value: []byte(v)})
	}
	return out, nil
}

// production is one run of produce: the client that it sends with and where it counts.
type production struct {
	client *client.Client
	sum    *summary
	bar    *progress
}

// records sends the records of a source. After an interrupt, or a fault in the input, what was read
// before is still delivered.
func (p production) records(ctx context.Context, src source, o client.ProducerOptions) error {
	producer, err := client.NewProducer(ctx, p.client, o)
	if err != nil {
		return err
	}
	err = p.feed(ctx, producer, src)
	const patience = 30 * time.Second
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if ctx.Err() == nil {
		closing = ctx
	}
	err = errors.Join(err, producer.Close(closing))
	p.sum.take(producer.Totals())
	return errors.Join(err, p.sum.failure())
}

// feed sends record after record until the input ends or one of them cannot be delivered: the others
// would most likely fare no better.
func (p production) feed(ctx context.Context, producer *client.Producer, src source) error {
	for {
		if p.sum.broken.Load() {
			return nil // what broke is in the summary
		}
		if ctx.Err() != nil {
			return errInterrupted
		}
		in, err := src.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		done := p.sum.reporter(in.place)
		if in.partition >= 0 {
			err = producer.SendTo(ctx, in.partition, in.Record, done)
		} else {
			err = producer.Send(ctx, in.Record, done)
		}
		if err != nil {
			return fmt.Errorf("%s %d: %w", src.unit(), in.place, err)
		}
		p.bar.add(1, 0)
	}
}
