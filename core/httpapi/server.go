package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// retryShutdownMillis is when a client that meets a shutdown should ask again, here or at another broker.
const retryShutdownMillis = 1000

// Server answers HTTP requests from a broker. Make one with New.
type Server struct {
	opts   Options
	log    *slog.Logger
	broker Broker
	router *router
	http   *fasthttp.Server
	unpack *record.Budget // for records that are shown one by one
	calls  sync.Pool      // of *call
	ids    requestIDs

	// base ends when a shutdown ran out of patience, polls when one begins.
	base      context.Context
	stopBase  context.CancelFunc
	polls     context.Context
	stopPolls context.CancelFunc
	draining  atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; those that are open
}

// New makes a server; it does nothing until Serve. Every fault in the options is reported at once.
func New(o Options, b Broker) (*Server, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("http options: %w", err)
	}
	s := &Server{
		opts:   o,
		log:    o.Logger,
		broker: b,
		unpack: record.NewBudget(o.Admission.Unpack),
		conns:  make(map[net.Conn]struct{}),
	}
	s.ids.init()
	s.router = newRouter(routes())
	s.base, s.stopBase = context.WithCancel(context.Background())
	s.polls, s.stopPolls = context.WithCancel(s.base)
	s.http = &fasthttp.Server{
		Handler:      s.handle,
		ErrorHandler: s.refuse,
		ConnState:    s.track,
		Logger:       fasthttpLog{o.Logger},
		Name:         "wasmill",
		Concurrency:  o.MaxConnections,

		// Handlers are called as soon as the headers are there. The limit of one byte is what
		// fasthttp reads ahead before that; how much of a body is taken is decided in readBody.
		StreamRequestBody:            true,
		MaxRequestBodySize:           1,
		DisablePreParseMultipartForm: true,

		ReadBufferSize:  o.MaxHeaderBytes,
		ReadTimeout:     o.HeaderTimeout,
		IdleTimeout:     o.IdleTimeout,
		WriteTimeout:    o.WriteTimeout,
		CloseOnShutdown: true,

		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,
	}
	return s, nil
}

// Serve answers connections of the listener until Shutdown, then returns nil at once; Shutdown waits
// for what is still being answered. It may run for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	if s.draining.Load() {
		return errors.Join(errcode.New(errcode.ShuttingDown, "serve %s: the server was shut down", ln.Addr()), ln.Close())
	}
	if err := s.http.Serve(ln); err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting, ends long polls and streams with what they have, and waits until every
// request that was accepted is answered. When ctx ends first, requests still in the broker are
// cancelled, the connections closed, and ctx's error is returned. The server cannot be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.stopPolls()
	err := s.http.ShutdownWithContext(ctx)
	s.stopBase()
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.conns)
	for c := range s.conns {
		// The error of closing a connection that is abandoned has no use.
		_ = c.Close()
	}
	return fmt.Errorf("shut down HTTP server: %d connections closed before they were answered: %w", n, err)
}

// track keeps the set of open connections for the end of an impatient shutdown.
func (s *Server) track(c net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}
}

// handle is every request's way in.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	c := s.newCall(ctx)
	defer c.recoverPanic()
	rt, allow := s.router.find(ctx.Method(), ctx.URI().PathOriginal(), &c.params)
	if rt == nil {
		c.fail(noRoute(ctx, allow))
		return
	}
	c.start(rt)
	if s.draining.Load() && !rt.always {
		c.fail(errcode.New(errcode.ShuttingDown, "the broker is shutting down; send the request to another one, or again when it is back").
			With("retry_after_ms", retryShutdownMillis))
		return
	}
	if err := rt.handle(c); err != nil {
		c.fail(err)
	}
}

func noRoute(ctx *fasthttp.RequestCtx, allow []string) error {
	if len(allow) == 0 {
		return errcode.New(errcode.NotFound, "there is nothing at %q; GET /openapi.json lists every call", ctx.Path())
	}
	return errcode.New(errcode.MethodNotAllowed, "%q does not take %s; it takes %v", ctx.Path(), ctx.Method(), allow).
		With("allow", allow)
}

// fasthttpLog passes on what fasthttp logs: mostly clients that went away.
type fasthttpLog struct{ log *slog.Logger }

func (l fasthttpLog) Printf(format string, args ...any) {
	l.log.Debug("http: " + fmt.Sprintf(format, args...))
}
