package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"

	"github.com/wasmill/wasmill/cmd/wasmill/internal/cli"
	"github.com/wasmill/wasmill/cmd/wasmill/internal/config"
	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/datadir"
	"github.com/wasmill/wasmill/core/httpapi"
	"github.com/wasmill/wasmill/core/telemetry"
)

// gcPercent lets the heap grow to five times what lives on it before Go collects. What lives is small,
// as records pass through buffers that are used again: at Go's own 100 a busy broker of 10 MB would
// collect dozens of times a second, which took a fifth of its throughput.
const gcPercent = 400

// tuneGC leaves the choice to GOGC where that is set.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// runBroker serves until ctx ends, then answers what it accepted and closes everything. It listens
// before it opens the data, so that a port in use is reported before a long start, and answers only when
// the broker serves.
func runBroker(ctx context.Context, cfg config.Config, logger *slog.Logger, out io.Writer) (err error) {
	tuneGC()
	ln, err := listen(cfg.HTTP)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := ln.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}()
	stopPprof, err := servePprof(cfg.Pprof, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopPprof()) }()
	if cfg.Advertise == "" {
		cfg.Advertise = "http://" + ln.Addr().String()
	}
	memory, err := admission.New(int64(cfg.MaxInFlightBytes))
	if err != nil {
		return err
	}
	tel, err := telemetry.Start(telemetry.Options{
		Version: version, BrokerID: cfg.BrokerID, OTLPEndpoint: cfg.OTLPEndpoint, Logger: logger,
	})
	if err != nil {
		return err
	}
	b, err := broker.Open(ctx, brokerOptions(cfg, logger, tel, memory))
	if err != nil {
		return errors.Join(openError(err, cfg), tel.Shutdown(ctx))
	}
	server, err := httpapi.New(httpOptions(cfg, logger, tel, memory), b)
	if err != nil {
		return errors.Join(err, b.Close(ctx), tel.Shutdown(ctx))
	}
	watch(tel, memory, b)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	if err = announce(out, ln, cfg); err == nil {
		select {
		case <-ctx.Done():
		case err = <-served:
		}
	}
	return errors.Join(err, shutdown(cfg, logger, server, b, tel))
}

// watch lets telemetry ask for what it does not observe as it happens.
func watch(tel *telemetry.Telemetry, memory *admission.Controller, b *broker.Broker) {
	tel.RegisterPartitions(func() []telemetry.PartitionStat {
		stats := []telemetry.PartitionStat{}
		b.EachPartition(func(topic string, p api.PartitionState) {
			stats = append(stats, telemetry.PartitionStat{
				Topic: topic, Partition: p.Partition, LogStartOffset: p.LogStartOffset, HighWatermark: p.HighWatermark,
				SizeBytes: p.SizeBytes, Failed: p.Error != "",
			})
		})
		return stats
	})
	tel.RegisterMemory(memory.Usage)
}

// shutdown ends the server before the broker: what was accepted is answered. Telemetry goes last, as
// the others are observed until they end. All are tried.
func shutdown(cfg config.Config, logger *slog.Logger, server *httpapi.Server, b *broker.Broker, tel *telemetry.Telemetry) error {
	logger.Info("shutting down", "timeout", cfg.ShutdownTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), cfg.ShutdownTimeout)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), b.Close(ctx), tel.Shutdown(ctx))
}

func brokerOptions(cfg config.Config, logger *slog.Logger, tel *telemetry.Telemetry, memory *admission.Controller) broker.Options {
	recycle := int64(cfg.RecycleBytes)
	if recycle == 0 {
		recycle = -1
	}
	return broker.Options{
		DataDir: cfg.Data, BrokerID: cfg.BrokerID, Advertise: cfg.Advertise, Version: version, Logger: logger,
		Admission: memory, RecycleBytes: recycle, MaintainEvery: cfg.MaintainEvery, EngineInstances: cfg.WasmInstances,
		Observer: tel, Tracer: tel.Tracer(),
	}
}

func httpOptions(cfg config.Config, logger *slog.Logger, tel *telemetry.Telemetry, memory *admission.Controller) httpapi.Options {
	return httpapi.Options{
		Logger: logger, Leader: cfg.Advertise,
		Metrics: tel.Handler(), Observer: tel, TraceContext: tel.TraceContext,
		MaxBodyBytes: int(cfg.MaxBodyBytes), MaxModuleBytes: int(cfg.MaxModuleBytes), MaxFetchBytes: int(cfg.MaxFetchBytes),
		Admission: memory, MaxConnections: cfg.MaxConnections,
	}
}

// openError adds what to do when the data directory cannot be used.
func openError(err error, cfg config.Config) error {
	err = fmt.Errorf("open %s: %w", cfg.Data, err)
	switch {
	case errors.Is(err, datadir.ErrInUse):
		return cli.Hinted(err, "Stop the other broker, or choose another directory with --data.")
	case errors.Is(err, datadir.ErrNewer):
		return cli.Hinted(err, "Start the newer version of wasmill, or choose another directory with --data.")
	case errors.Is(err, datadir.ErrUnusable):
		return cli.Hinted(err, "Choose another directory with --data, or change its permissions.")
	}
	return err
}
