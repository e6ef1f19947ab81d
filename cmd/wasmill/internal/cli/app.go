// Package cli is the command line of Wasmill: one file per family of commands, all over the Go
// client. It talks to streams that it is given, so that tests can run any command in process.
//
// Output for people goes through tables and units; with --json every command writes one JSON
// document of a stable shape (consume: one per line) to standard output. Progress, warnings and
// errors go to standard error. Exit codes are those of ExitCode.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

// Streams are what a command reads and writes, and how it learns its surroundings.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
}

// StandardStreams are the process's own.
func StandardStreams() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
}

// app is the state that the commands of one invocation share.
type app struct {
	Streams
	version string
	server  string        // --server
	json    bool          // --json
	timeout time.Duration // --timeout, of one call
	noColor bool          // --no-color
}

// Run runs one command line and returns its exit code. serve is the command that this package does
// not have; nil for none.
func Run(ctx context.Context, s Streams, version string, args []string, serve *cobra.Command) int {
	ctx, stop := interruptible(ctx)
	defer stop()
	a := &app{Streams: s, version: version}
	root := a.root(serve)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if errors.Is(err, syscall.EPIPE) {
		return ExitOK // the reader of our output has seen enough
	}
	if err != nil {
		a.json = a.json || slices.Contains(args, "--json") // flags behind a wrong one are never parsed
		a.printError(err)
	}
	return ExitCode(err)
}

// interruptible ends ctx with the first SIGINT or SIGTERM, and the process with the second, as if that
// were not handled. The channel holds both: however quickly they follow, none is lost.
func interruptible(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for range 2 {
			select {
			case <-over:
				return
			case s := <-signals:
				if ctx.Err() != nil {
					signal.Reset(s)
					if self, err := os.FindProcess(os.Getpid()); err == nil {
						_ = self.Signal(s) // it cannot fail: this process is there
					}
				}
				cancel()
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		<-gone
		cancel()
	}
}

// Root is the command tree, for documentation.
func Root(version string, serve *cobra.Command) *cobra.Command {
	return (&app{Streams: StandardStreams(), version: version}).root(serve)
}

func (a *app) root(serve *cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "wasmill",
		Short: "A durable event log that runs your WebAssembly on the way in and on the way out",
		Long: `Wasmill is a durable, partitioned event log. WebAssembly modules that you upload validate, change,
redact, filter and route records before they are written and when they are read.

Commands talk to the broker at --server, or WASMILL_SERVER, or ` + client.DefaultServer + `.

Exit codes: 0 done; 1 failed; 2 wrong use of the command line; 3 no such topic, module, view or the
like; 4 refused by the broker; 5 broker not reachable, busy or too slow; 6 records were rejected.`,
		Example: `  wasmill serve
  wasmill topic create orders --partitions 4
  echo '{"id": 1}' | wasmill produce orders
  wasmill consume orders --follow`,
		Version:           a.version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetVersionTemplate("wasmill {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%w", err) })
	server := client.DefaultServer
	if v := a.Getenv("WASMILL_SERVER"); v != "" {
		server = v
	}
	f := root.PersistentFlags()
	f.StringVar(&a.server, "server", server, "address of the broker (WASMILL_SERVER)")
	f.Lookup("server").DefValue = client.DefaultServer // help must not depend on the environment
	f.BoolVar(&a.json, "json", false, "write JSON for scripts")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "how long one call to the broker may take")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (NO_COLOR)")
	asGroup(root)
	if serve != nil {
		root.AddCommand(serve)
	}
	root.AddCommand(a.topicCommand(), a.produceCommand(), a.consumeCommand(), a.moduleCommand(), a.pipelineCommand(),
		a.viewCommand(), a.deriveCommand(), a.pluginCommand(), a.logCommand(), a.benchCommand(), a.versionCommand())
	return root
}

// client connects to the chosen server.
func (a *app) client() (*client.Client, error) {
	c, err := client.New(client.Options{Server: a.server, Timeout: a.timeout, UserAgent: "wasmill/" + a.version})
	if errors.Is(err, client.ErrServerAddress) {
		return nil, &usageError{err: err, hint: "Give --server http://HOST:PORT, or set WASMILL_SERVER."}
	}
	return c, err
}

// withClient runs f with a client that is closed afterwards.
func (a *app) withClient(f func(*client.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close())
}

// asGroup makes cmd, which only holds others, show its help when called alone and refuse unknown
// names, instead of taking them for arguments.
func asGroup(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		err := usage(cmd, "unknown command %q", args[0])
		cmd.SuggestionsMinimumDistance = 2
		if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
			err.hint = fmt.Sprintf("Did you mean '%s %s'?", cmd.CommandPath(), strings.Join(similar, "' or '"+cmd.CommandPath()+" "))
		}
		return err
	}
	return cmd
}

// args checks the number of arguments; names are for the message, the last one may repeat when most
// is negative.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) < least {
			return usage(cmd, "missing argument: %s", cmd.UseLine())
		}
		if most >= 0 && len(given) > most {
			return usage(cmd, "unexpected argument %q", given[most])
		}
		return nil
	}
}

// completionPatience is how long a shell waits for names.
const completionPatience = time.Second

// completeTopics completes the first argument with the names of topics, and of views where they may
// stand, without ever keeping the shell waiting for long.
func (a *app) completeTopics(views bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		var names []string
		err := a.withClient(func(c *client.Client) error {
			topics, err := c.Topics(ctx)
			for _, t := range topics {
				names = append(names, t.Name)
			}
			if err != nil || !views {
				return err
			}
			vs, err := c.Views(ctx)
			for _, v := range vs {
				names = append(names, v.Name)
			}
			return err
		})
		if err != nil {
			return names, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  wasmill version\n  wasmill version --json",
		Args:    args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			info := buildInfo(a.version)
			return a.output(info, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "wasmill %s (%s, %s)\n", info.Version, info.Go, info.Platform)
				return err
			})
		},
	}
}
