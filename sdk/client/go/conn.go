package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	readBufferBytes  = 64 << 10 // also the most that an answer's header may take
	writeBufferBytes = 16 << 10
	// A server closes connections that stay idle; reusing one at that very moment loses the request.
	// Dropping them first keeps that from happening to calls that must not be repeated.
	maxIdleTime = 15 * time.Second
)

// errClosed is the cause of every failure after Client.Close.
var errClosed = errors.New("the client is closed")

// pool keeps idle connections, newest on top. fasthttp's own HostClient is not used because it knows
// no contexts: a cancelled long poll would hold its connection and its buffers until the server
// answers. It has no goroutines; connections that idled too long are dropped when one is put back or
// taken.
type pool struct {
	addr        string
	tls         *tls.Config // nil: plain
	dialTimeout time.Duration
	maxIdle     int

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

// conn is one connection and its buffers.
type conn struct {
	net.Conn
	r        *bufio.Reader
	w        *bufio.Writer
	lastUsed time.Time
	reused   bool
}

func (p *pool) get(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	stale := p.expireLocked(time.Now())
	var c *conn
	if n := len(p.idle); n > 0 {
		c = p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
	}
	p.mu.Unlock()
	closeAll(stale)
	if c != nil {
		c.reused = true
		return c, nil
	}
	return p.dial(ctx)
}

func (p *pool) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout)
	defer cancel()
	var d net.Dialer
	var nc net.Conn
	var err error
	if p.tls != nil {
		nc, err = (&tls.Dialer{NetDialer: &d, Config: p.tls}).DialContext(ctx, "tcp", p.addr)
	} else {
		nc, err = d.DialContext(ctx, "tcp", p.addr)
	}
	if err != nil {
		return nil, err
	}
	return &conn{
		Conn: nc,
		r:    bufio.NewReaderSize(nc, readBufferBytes),
		w:    bufio.NewWriterSize(nc, writeBufferBytes),
	}, nil
}

// put gives a connection back whose last call ended cleanly.
func (p *pool) put(c *conn) {
	now := time.Now()
	c.lastUsed = now
	p.mu.Lock()
	stale := p.expireLocked(now)
	if p.closed || len(p.idle) >= p.maxIdle {
		stale = append(stale, c)
	} else {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	closeAll(stale)
}

func (p *pool) expireLocked(now time.Time) []*conn {
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].lastUsed) > maxIdleTime {
		n++
	}
	if n == 0 {
		return nil
	}
	stale := append([]*conn(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	return stale
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	closeAll(idle)
}

func closeAll(cs []*conn) {
	for _, c := range cs {
		_ = c.Close() // idle: nothing is lost with it
	}
}

// roundTrip sends one request and reads its answer. sent is whether any of it may have reached the
// server. Neither req nor resp is used after it returns, whatever ctx does.
func (p *pool) roundTrip(ctx context.Context, req *fasthttp.Request, resp *fasthttp.Response, maxBody int) (sent bool, err error) {
	c, err := p.get(ctx)
	if err != nil {
		return false, err
	}
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil { // the zero time lifts an earlier deadline
		_ = c.Close()
		return false, err
	}
	// A deadline in the past wakes a blocked read or write.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err = req.Write(c.w)
	if err == nil {
		err = c.w.Flush()
	}
	if err == nil {
		err = resp.ReadLimitBody(c.r, maxBody)
	}
	// When stop is called too late the deadline may yet be set: the connection must not be reused.
	if !stop() || err != nil || resp.ConnectionClose() {
		_ = c.Close()
	} else {
		p.put(c)
	}
	return true, cause(ctx, err)
}

// cause is ctx's error where it, or its deadline set on the connection, is what broke the exchange.
func cause(ctx context.Context, err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &timeout) && timeout.Timeout():
		return context.DeadlineExceeded // the connection's clock was a moment ahead
	}
	return err
}
