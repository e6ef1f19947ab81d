// Package client is Wasmill's Go client: calls for every endpoint of the HTTP API, a Producer that
// gathers records into record batches and delivers each exactly once into its partition, and a
// Consumer that long-polls many partitions in one round trip.
//
//	c, err := client.New(client.Options{Server: "http://127.0.0.1:8640"})
//	...
//	defer c.Close()
//	topic, err := c.CreateTopic(ctx, client.TopicSpec{Name: "orders", Partitions: 4})
//
// Refusals by the broker are *Error, failures to talk to it *ConnError; both work with errors.As, and
// context errors stay visible to errors.Is. A Client is safe for concurrent use.
package client

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// DefaultServer is where a broker listens that was started without configuration.
const DefaultServer = "http://127.0.0.1:8640"

// Options configure a Client. The zero value talks to DefaultServer.
type Options struct {
	Server           string        // base address, http or https; "host:port" means http
	Timeout          time.Duration // of one attempt of one call, without a long poll's own wait; default 30 s
	DialTimeout      time.Duration // default 5 s
	Retries          int           // attempts after the first where repeating is safe; default 4, negative for none
	Backoff          time.Duration // before the first retry, doubled for each further one, jittered; default 50 ms
	MaxBackoff       time.Duration // default 2 s
	MaxResponseBytes int           // an answer's body beyond this is an error; default 128 MiB
	MaxIdleConns     int           // connections kept for reuse; default 64
	TLS              *tls.Config   // for https; nil for the system's defaults
	UserAgent        string        // default "wasmill-go"
}

// Client talks to one Wasmill server.
type Client struct {
	o    Options
	host string // host:port
	base string // for messages
	pool *pool
}

// New checks the options. It does not connect: the first call does.
func New(o Options) (*Client, error) {
	o = o.withDefaults()
	u, err := parseServer(o.Server)
	if err != nil {
		return nil, err
	}
	var tc *tls.Config
	host := u.Host
	if u.Scheme == "https" {
		tc = o.TLS.Clone()
		if tc == nil {
			tc = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if tc.ServerName == "" {
			tc.ServerName = u.Hostname()
		}
	}
	if u.Port() == "" {
		host = u.Hostname() + map[bool]string{true: ":443", false: ":80"}[u.Scheme == "https"]
	}
	return &Client{
		o:    o,
		host: u.Host,
		base: u.Scheme + "://" + u.Host,
		pool: &pool{addr: host, tls: tc, dialTimeout: o.DialTimeout, maxIdle: o.MaxIdleConns},
	}, nil
}

func (o Options) withDefaults() Options {
	o.Server = cmp.Or(o.Server, DefaultServer)
	o.Timeout = cmp.Or(max(o.Timeout, 0), 30*time.Second)
	o.DialTimeout = cmp.Or(max(o.DialTimeout, 0), 5*time.Second)
	o.Retries = cmp.Or(o.Retries, 4)
	o.Backoff = cmp.Or(max(o.Backoff, 0), 50*time.Millisecond)
	o.MaxBackoff = cmp.Or(max(o.MaxBackoff, 0), 2*time.Second)
	o.MaxResponseBytes = cmp.Or(max(o.MaxResponseBytes, 0), 128<<20)
	o.MaxIdleConns = cmp.Or(max(o.MaxIdleConns, 0), 64)
	o.UserAgent = cmp.Or(o.UserAgent, "wasmill-go")
	return o
}

// ErrServerAddress is returned by New for a server address that cannot be used.
var ErrServerAddress = errors.New("bad server address")

func parseServer(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrServerAddress, s, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%w %q: give http://HOST:PORT or https://HOST:PORT", ErrServerAddress, s)
	}
	return u, nil
}

// Server is the base address that the client talks to.
func (c *Client) Server() string { return c.base }

// Close closes idle connections, and busy ones when their call ends. Calls made afterwards fail.
// Idempotent.
func (c *Client) Close() error {
	c.pool.close()
	return nil
}
