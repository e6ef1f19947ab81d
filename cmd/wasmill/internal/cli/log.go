package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/core/datadir"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// ErrDamaged is returned by log verify when a log has faults.
var ErrDamaged = errors.New("the log is damaged")

func (a *app) logCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "log",
		Short: "Look into the files of a partition while its broker is stopped",
		Long: `Look into the files of a partition while its broker is stopped. Nothing is changed.

A log is named by its directory, or as TOPIC/PARTITION below the --data directory.`,
		Example: `  wasmill log verify
  wasmill log verify orders/0 --data /var/lib/wasmill
  wasmill log dump orders/0 --records -n 5`,
	})
	cmd.AddCommand(a.logDump(), a.logVerify())
	return cmd
}

// logFlags say where logs are.
type logFlags struct {
	data string
	live bool
}

func (f *logFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "./wasmill-data", "data directory of the broker")
	cmd.Flags().BoolVar(&f.live, "live", false, "read although a broker has the directory open: the end of the log may look torn")
}

// open makes sure that no broker writes below dir, which is a data directory or inside of one, for as
// long as the result is not closed.
func (f *logFlags) open(dir string) (io.Closer, error) {
	none := io.NopCloser(nil)
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data, ok := datadir.Find(vfs.OS(), filepath.ToSlash(absolute))
	if !ok || f.live {
		return none, nil
	}
	lock, err := datadir.Lock(vfs.OS(), data.Root())
	switch {
	case errors.Is(err, datadir.ErrInUse):
		return nil, hinted{error: fmt.Errorf("a broker has %s open", filepath.FromSlash(data.Root())), hint: "Stop it first, or read what is there with --live."}
	case err != nil && (errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist)):
		return none, nil // a copy that cannot be written to: no broker writes to it
	case err != nil:
		return nil, err
	}
	return lock, nil
}

// find is the directory of the log that is named.
func (f *logFlags) find(cmd *cobra.Command, name string) (string, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return name, nil
	}
	topic, number, ok := strings.Cut(name, "/")
	wanted, err := strconv.ParseUint(number, 10, 31)
	if !ok || err != nil {
		return "", usage(cmd, "%q is neither a directory nor TOPIC/PARTITION", name)
	}
	logs, err := f.all()
	if err != nil {
		return "", err
	}
	var found []string
	for _, l := range logs {
		if l.Topic.Name == topic && int64(l.Number) == int64(wanted) {
			found = append(found, filepath.FromSlash(l.Dir))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", hinted{error: fmt.Errorf("%w: no log of %s in %s", os.ErrNotExist, name, f.data), hint: "'wasmill log verify --data DIR' lists the logs that there are."}
	}
	return "", usage(cmd, "%s is ambiguous, name one of the directories: %s", name, strings.Join(found, ", "))
}

// all lists the logs below the data directory.
func (f *logFlags) all() ([]datadir.Partition, error) {
	logs, err := datadir.At(filepath.ToSlash(f.data)).Partitions(vfs.OS())
	if errors.Is(err, os.ErrNotExist) {
		return nil, hinted{error: fmt.Errorf("%s holds no logs: %w", f.data, err), hint: "Name the broker's data directory with --data."}
	}
	return logs, err
}

func (a *app) logVerify() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "verify [DIR | TOPIC/PARTITION]...",
		Short: "Check every byte of logs that can be checked",
		Long: `Check every byte of logs that can be checked: the chain of segments, every frame's checksum, every
record batch. Without arguments, all logs below --data. A torn tail is what a crash leaves behind: it
was never acknowledged, and the next start removes it. Any other fault makes the exit code 1.`,
		Example: "  wasmill log verify --data /var/lib/wasmill\n  wasmill log verify orders/0 --json",
		Args:    args(0, -1),
		RunE: func(cmd *cobra.Command, names []string) error {
			dirs, err := f.named(cmd, names)
			if err != nil {
				return err
			}
			return a.verifyLogs(dirs, &f)
		},
	}
	f.register(cmd)
	return cmd
}

// named lists the directories of the logs that are named, or of all.
func (f *logFlags) named(cmd *cobra.Command, names []string) ([]string, error) {
	var dirs []string
	if len(names) == 0 {
		logs, err := f.all()
		for _, l := range logs {
			dirs = append(dirs, filepath.FromSlash(l.Dir))
		}
		return dirs, err
	}
	for _, name := range names {
		dir, err := f.find(cmd, name)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// verified is the stable shape of one log's report.
type verified struct {
	Dir         string     `json:"dir"`
	Segments    int        `json:"segments"`
	Frames      int        `json:"frames"`
	Batches     int        `json:"batches"`
	Bytes       int64      `json:"bytes"`
	FirstIndex  uint64     `json:"first_index"`
	LastIndex   uint64     `json:"last_index"`
	StartOffset int64      `json:"start_offset"`
	EndOffset   int64      `json:"end_offset"`
	TornTail    *logFault  `json:"torn_tail,omitempty"`
	Faults      []logFault `json:"faults"`
	MoreFaults  int        `json:"more_faults,omitempty"`
}

type logFault struct {
	File    string `json:"file"`
	Pos     int64  `json:"pos"`
	Problem string `json:"problem"`
	Advice  string `json:"advice"`
}

func (a *app) verifyLogs(dirs []string, f *logFlags) (err error) {
	reports := []verified{}
	faults := 0
	for _, dir := range dirs {
		lock, err := f.open(dir)
		if err != nil {
			return err
		}
		r, err := log.Verify(vfs.OS(), filepath.ToSlash(dir))
		if err = errors.Join(err, lock.Close()); err != nil {
			return err
		}
		reports = append(reports, reportOf(dir, r))
		faults += len(r.Faults) + r.MoreFaults
	}
	err = a.output(listOf("logs", reports), func(w io.Writer) error {
		for _, v := range reports {
			writeVerified(w, v)
		}
		_, err := fmt.Fprintf(w, "%s, %s\n", plural(int64(len(reports)), "log"), plural(int64(faults), "fault"))
		return err
	})
	if err == nil && faults > 0 {
		err = hinted{error: fmt.Errorf("%w: %s", ErrDamaged, plural(int64(faults), "fault")), hint: "Do what each fault's advice says before the broker starts on this directory."}
	}
	return err
}

func reportOf(dir string, r log.Report) verified {
	v := verified{
		Dir: dir, Segments: r.Segments, Frames: r.Frames, Batches: r.Batches, Bytes: r.Bytes,
		FirstIndex: r.FirstIndex, LastIndex: r.LastIndex, StartOffset: r.StartOffset, EndOffset: r.EndOffset,
		Faults: []logFault{}, MoreFaults: r.MoreFaults,
	}
	for _, f := range r.Faults {
		v.Faults = append(v.Faults, logFault(f))
	}
	if r.TornTail != nil {
		torn := logFault(*r.TornTail)
		v.TornTail = &torn
	}
	return v
}

func writeVerified(w io.Writer, v verified) {
	state := "ok"
	if n := len(v.Faults) + v.MoreFaults; n > 0 {
		state = plural(int64(n), "fault")
	}
	fmt.Fprintf(w, "%s: %s; offsets %d to %d, %s, %s, %s\n", v.Dir, state, v.StartOffset, v.EndOffset,
		plural(int64(v.Segments), "segment"), plural(int64(v.Frames), "frame"), size(v.Bytes))
	if t := v.TornTail; t != nil {
		fmt.Fprintf(w, "  torn tail in %s at byte %d: %s\n    %s\n", t.File, t.Pos, t.Problem, t.Advice)
	}
	for _, f := range v.Faults {
		fmt.Fprintf(w, "  %s at byte %d: %s\n    %s\n", f.File, f.Pos, f.Problem, f.Advice)
	}
	if v.MoreFaults > 0 {
		fmt.Fprintf(w, "  ... and %s more\n", count(v.MoreFaults))
	}
}

func (a *app) logDump() *cobra.Command {
	var f logFlags
	var d dumper
	cmd := &cobra.Command{
		Use:   "dump DIR | TOPIC/PARTITION",
		Short: "Show what a log holds, frame by frame",
		Example: `  wasmill log dump orders/0 --data /var/lib/wasmill
  wasmill log dump orders/0 --records --offset 1200 -n 1
  wasmill log dump orders/0 --json | jq 'select(.type == "LogCommand").batches[].count'`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			dir, err := f.find(cmd, given[0])
			if err != nil {
				return err
			}
			lock, err := f.open(dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, lock.Close()) }()
			if n, err := strconv.ParseInt(filepath.Base(dir), 10, 32); err == nil {
				d.number = int32(n)
			}
			d.w = bufio.NewWriter(a.Out)
			d.json = a.json
			err = log.Dump(vfs.OS(), filepath.ToSlash(dir), d.frame)
			if errors.Is(err, errEnough) {
				err = nil
			}
			return errors.Join(err, d.w.Flush())
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&d.records, "records", false, "show the records too")
	cmd.Flags().Int64Var(&d.from, "offset", 0, "begin at the frame with this offset")
	cmd.Flags().Int64VarP(&d.most, "count", "n", 0, "end after this many frames; 0: no limit")
	return cmd
}
