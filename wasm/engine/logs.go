package engine

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	logBurst     = 50 // lines at once
	logPerSecond = 10 // lines afterwards
)

// guestLog logs what modules write, limited in rate: a module that logs every record must not fill the
// broker's disk.
type guestLog struct {
	logger *slog.Logger
	now    func() time.Time

	// mu covers the fields below. It is not held while a line is logged.
	mu         sync.Mutex
	tokens     float64
	last       time.Time
	suppressed int
}

func newGuestLog(logger *slog.Logger, now func() time.Time) *guestLog {
	return &guestLog{logger: logger, now: now, tokens: logBurst, last: now()}
}

func (g *guestLog) line(level slog.Level, line []byte) {
	if !g.logger.Enabled(context.Background(), level) {
		return
	}
	suppressed, ok := g.take()
	if !ok {
		return
	}
	attrs := []slog.Attr{slog.String("line", strings.ToValidUTF8(string(line), "\uFFFD"))}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed_before", suppressed))
	}
	g.logger.LogAttrs(context.Background(), level, "module log line", attrs...)
}

// take spends a token; suppressed is how many lines were dropped since the last one that was logged.
func (g *guestLog) take() (suppressed int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.tokens = min(logBurst, g.tokens+now.Sub(g.last).Seconds()*logPerSecond)
	g.last = now
	if g.tokens < 1 {
		g.suppressed++
		return 0, false
	}
	g.tokens--
	suppressed, g.suppressed = g.suppressed, 0
	return suppressed, true
}

// lineSplit is an io.Writer that calls line with whole lines, cut at maxLogLine bytes.
type lineSplit struct {
	line    func([]byte)
	pending []byte
}

func (l *lineSplit) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		part, rest, whole := bytes.Cut(b, []byte{'\n'})
		room := maxLogLine - len(l.pending)
		l.pending = append(l.pending, part[:min(len(part), room)]...)
		if whole {
			l.line(l.pending)
			l.pending = l.pending[:0]
		}
		b = rest
	}
	return n, nil
}

const maxGuestMetrics = 64

// guestMetrics are the counters of one pool's module.
type guestMetrics struct {
	observer Observer
	label    string

	// mu covers names. It is not held while the observer is called.
	mu    sync.Mutex
	names map[string]string
}

func (g *guestMetrics) add(name []byte, delta int64) {
	g.mu.Lock()
	known, ok := g.names[string(name)]
	if !ok && len(g.names) < maxGuestMetrics && validMetric(name) {
		if g.names == nil {
			g.names = map[string]string{}
		}
		known, ok = string(name), true
		g.names[known] = known
	}
	g.mu.Unlock()
	if ok {
		g.observer.GuestMetric(g.label, known, delta)
	}
}

func validMetric(name []byte) bool {
	if len(name) == 0 || len(name) > 64 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
