package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/core/errcode"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// consumeFlags are the flags of consume.
type consumeFlags struct {
	from       string
	offset     int64
	partitions []int32
	follow     bool
	view       string
	most       int64
	format     string
	untilEnd   bool
	progress   bool
	modules    []string
	configs    []string
	maxBytes   int
}

func (a *app) consumeCommand() *cobra.Command {
	var f consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC|VIEW",
		Short: "Read records of a topic or a view",
		Long: `Read records of a topic or a view, all partitions together, in offset order within each partition.

Without --follow it ends at what was the end of the log when it began. With --follow it goes on
until it is interrupted, which is no failure.

Formats:
  value    the value and a newline
  kv       key, a tab, the value and a newline
  json     one JSON object per line, which 'produce --format ndjson' takes back
  pretty   for reading: partition, offset, time, headers, key and value
  raw      values alone, nothing between them
  batches  record batches of the records, which 'produce --format batches' takes back`,
		Example: `  wasmill consume orders
  wasmill consume orders --follow --from latest
  wasmill consume orders --from 2026-01-31T08:00:00Z --format pretty -n 10
  wasmill consume orders --partition 0 --offset 1200 --json
  wasmill consume --view orders-public --follow
  wasmill consume orders --module redact@2 --module-config '{"fields":["email"]}'`,
		Args:              args(0, 1),
		ValidArgsFunction: a.completeTopics(true),
		RunE: func(cmd *cobra.Command, given []string) error {
			name := f.view
			if len(given) == 1 && name == "" {
				name = given[0]
			} else if name == "" || len(given) == 1 {
				return usage(cmd, "give the name of a topic or a view, once")
			}
			if a.json && !cmd.Flags().Changed("format") {
				f.format = "json"
			}
			return a.consume(cmd, name, f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", client.Earliest, "earliest, latest, or a time such as 2026-01-31T08:00:00Z")
	fl.Int64VarP(&f.offset, "offset", "o", -1, "offset to begin at, instead of --from")
	fl.Int32SliceVarP(&f.partitions, "partition", "p", nil, "partitions to read, comma-separated (default all)")
	fl.BoolVarP(&f.follow, "follow", "F", false, "wait for more at the end")
	fl.BoolVar(&f.untilEnd, "until-end", false, "end at the end of the log (the default without --follow)")
	fl.StringVar(&f.view, "view", "", "view to read; the same as naming it as the argument")
	fl.Int64VarP(&f.most, "count", "n", 0, "end after this many records; 0: no limit")
	fl.StringVar(&f.format, "format", "value", "value, kv, json, pretty, raw or batches")
	fl.StringArrayVar(&f.modules, "module", nil, "NAME[@VERSION] to read through for this once, repeatable")
	fl.StringArrayVar(&f.configs, "module-config", nil, "configuration of the --module in the same place, JSON or @FILE")
	fl.IntVar(&f.maxBytes, "max-bytes", 1<<20, "how much to fetch of a partition at once")
	fl.BoolVar(&f.progress, "progress", false, "show progress although there is no terminal")
	complete(cmd, "format", "value", "kv", "json", "pretty", "raw", "batches")
	complete(cmd, "from", client.Earliest, client.Latest)
	return cmd
}

// consume checks the flags and reads until one of the ends.
func (a *app) consume(cmd *cobra.Command, name string, f consumeFlags) error {
	if f.follow && f.untilEnd {
		return usage(cmd, "--follow and --until-end exclude each other")
	}
	if f.offset >= 0 && cmd.Flags().Changed("from") {
		return usage(cmd, "--offset and --from exclude each other")
	}
	start := f.from
	if f.offset >= 0 {
		start = fmt.Sprint(f.offset)
	} else if cmd.Flags().Changed("offset") {
		return usage(cmd, "--offset %d: offsets begin at 0", f.offset)
	}
	stages, err := adHocStages(cmd, f.modules, f.configs)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(a.Out, 64<<10)
	write, err := newRecordWriter(out, f.format, a.colored(a.Out))
	if err != nil {
		return usage(cmd, "%w", err)
	}
	o := client.ConsumerOptions{
		Topic: name, Partitions: f.partitions, Start: start, MaxBytes: f.maxBytes, Stages: stages,
		Wait: -1, // at the end there is nothing to wait for
	}
	if f.follow {
		const longPoll = 10 * time.Second
		o.Wait, o.OnOutOfRange = longPoll, a.skipDeleted(name)
	}
	return a.withClient(func(c *client.Client) error {
		k, err := client.NewConsumer(cmd.Context(), c, o)
		if errors.Is(err, client.ErrStart) {
			return usage(cmd, "--from: %w", err)
		}
		if err != nil {
			return err
		}
		// Where progress shares the terminal with the records, it would only be in the way.
		bar := a.startProgress(f.progress || isTerminal(a.Err) && !isTerminal(a.Out), -1)
		defer bar.finish()
		r := readout{consumer: k, flags: f, out: out, write: write, bar: bar}
		err = r.run(cmd.Context())
		return errors.Join(err, write.close(), out.Flush())
	})
}

// skipDeleted continues at the oldest record that is left, and prints that it does.
func (a *app) skipDeleted(name string) func(int32, int64, int64, int64, error) (int64, error) {
	return func(p int32, asked, start, end int64, cause error) (int64, error) {
		if asked > end {
			return 0, cause
		}
		a.warn("%s/%d: records %d to %d were deleted by retention; going on at %d", name, p, asked, start-1, start)
		return start, nil
	}
}

// errEnough ends a poll when -n is reached.
var errEnough = errors.New("enough records")

// readout is one run of consume.
type readout struct {
	consumer *client.Consumer
	flags    consumeFlags
	out      *bufio.Writer
	write    recordWriter // to out
	bar      *progress
	records  int64 // written
}

// run polls until the end that the flags name.
func (r *readout) run(ctx context.Context) error {
	var ends map[int32]int64 // high watermarks as of the first answer
	for {
		_, err := r.consumer.Poll(ctx, r.record)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case err != nil && ctx.Err() != nil && r.flags.follow:
			return nil // interrupted, as it should be
		case err != nil:
			return readHint(err)
		}
		if r.flags.follow {
			if err := errors.Join(r.write.flush(), r.out.Flush()); err != nil {
				return err
			}
			continue
		}
		if ends == nil {
			ends = map[int32]int64{}
			for _, p := range r.consumer.Positions() {
				ends[p.Partition] = p.HighWatermark
			}
		}
		if atEnd(r.consumer.Positions(), ends) {
			return nil
		}
	}
}

// record writes one record.
func (r *readout) record(rec *client.ConsumedRecord) error {
	if err := r.write.record(rec); err != nil {
		return err
	}
	r.records++
	r.bar.add(1, int64(len(rec.Key)+len(rec.Value)))
	if r.flags.most > 0 && r.records >= r.flags.most {
		return errEnough
	}
	return nil
}

func atEnd(positions []client.Position, ends map[int32]int64) bool {
	for _, p := range positions {
		if p.Next < ends[p.Partition] {
			return false
		}
	}
	return true
}

// readHint says what to do about an offset that does not exist, or about records that cannot be read.
func readHint(err error) error {
	switch {
	case client.IsCode(err, errcode.OffsetOutOfRange):
		return hinted{error: err, hint: "Begin with --from earliest, or at an offset within the bounds ('wasmill topic describe')."}
	case client.IsCode(err, errcode.CorruptMessage):
		return hinted{error: err, hint: damagedLog}
	}
	return err
}

// adHocStages pairs --module with --module-config.
func adHocStages(cmd *cobra.Command, modules, configs []string) ([]client.AdHocStage, error) {
	if len(configs) > len(modules) {
		return nil, usage(cmd, "there are more --module-config than --module")
	}
	var out []client.AdHocStage
	for i, m := range modules {
		s := client.AdHocStage{Module: m}
		if i < len(configs) {
			config, err := jsonArgument(configs[i])
			if err != nil {
				return nil, usage(cmd, "--module-config: %w", err)
			}
			s.Config = config
		}
		out = append(out, s)
	}
	return out, nil
}
