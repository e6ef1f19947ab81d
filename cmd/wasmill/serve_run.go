package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/wasmill/wasmill/cmd/wasmill/internal/config"
)

// runBroker serves until ctx ends.
func runBroker(ctx context.Context, cfg config.Config, logger *slog.Logger, out io.Writer) error {
	ln, err := listen(cfg.HTTP)
	if err != nil {
		return err
	}
	if err := announce(out, ln, cfg); err != nil {
		return errors.Join(err, ln.Close())
	}
	<-ctx.Done()
	logger.Info("shutting down", "timeout", cfg.ShutdownTimeout)
	return ln.Close()
}
