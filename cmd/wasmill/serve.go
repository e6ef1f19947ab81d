package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/cmd/wasmill/internal/cli"
	"github.com/wasmill/wasmill/cmd/wasmill/internal/config"
)

// serveCommand runs a broker. The first SIGINT or SIGTERM ends its context, which shuts it down in
// order; a second one ends the process at once.
func serveCommand(s cli.Streams) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a broker",
		Long: `Run a broker. It needs no configuration: data goes to ./wasmill-data, the HTTP API listens on
127.0.0.1:8640.

Every flag is also a variable (--log-level is WASMILL_LOG_LEVEL) and a key of the YAML file that
--config or WASMILL_CONFIG names (log-level: debug). Flags win over variables, variables over the
file.

When the broker is ready it prints one line with its address to standard output. Logs go to standard
error. SIGINT and SIGTERM stop it after it has answered what it accepted; a second signal stops it at
once, which loses nothing that was acknowledged.`,
		Example: `  wasmill serve
  wasmill serve --data /var/lib/wasmill --http 0.0.0.0:8640 --advertise http://broker-1:8640
  wasmill serve --config /etc/wasmill.yaml --log-format json
  WASMILL_LOG_LEVEL=debug wasmill serve --http 127.0.0.1:0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(cmd.Flags(), file)
			if err != nil {
				return cli.UsageError(fmt.Errorf("the configuration has faults:\n  %s", strings.ReplaceAll(err.Error(), "\n", "\n  ")),
					"Run 'wasmill serve --help' for what each value means.")
			}
			logger, err := newLogger(s.Err, cfg)
			if err != nil {
				return err
			}
			return runBroker(cmd.Context(), cfg, logger, s.Out)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "YAML file to read (WASMILL_CONFIG)")
	config.Flags(cmd.Flags())
	return cmd
}

func newLogger(w io.Writer, cfg config.Config) (*slog.Logger, error) {
	level, err := cfg.Level()
	if err != nil {
		return nil, err
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return slog.New(slog.NewTextHandler(w, o)), nil
}

// listen takes the address, with an error that says what to do when that cannot be.
func listen(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, cli.Hinted(fmt.Errorf("address %s is in use", address),
			"Is a broker running already? Stop it, choose another address with --http, or take a free one with --http 127.0.0.1:0.")
	case errors.Is(err, os.ErrPermission):
		return nil, cli.Hinted(fmt.Errorf("address %s may not be used: %w", address, err), "Choose a port above 1023 with --http.")
	case err != nil:
		return nil, cli.Hinted(fmt.Errorf("listen on %s: %w", address, err), "Choose an address of this machine with --http.")
	}
	return ln, nil
}

// announce prints the line by which people and scripts know that the broker is ready.
func announce(w io.Writer, ln net.Listener, cfg config.Config) error {
	_, err := fmt.Fprintf(w, "wasmill ready on http://%s data=%s version=%s pid=%d\n", ln.Addr(), cfg.Data, version, os.Getpid())
	return err
}
