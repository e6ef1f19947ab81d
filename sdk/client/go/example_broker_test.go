package client_test

import (
	"context"
	"errors"
	"log"
	"net"

	"github.com/wasmill/wasmill/core/httpapi"
	"github.com/wasmill/wasmill/core/httpapi/apitest"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// broker starts the HTTP server over a broker in memory, for the examples. stop ends it.
func broker() (address string, stop func()) {
	s, err := httpapi.New(httpapi.Options{}, apitest.NewFake())
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	return "http://" + ln.Addr().String(), func() {
		if err := errors.Join(s.Shutdown(context.Background()), <-served); err != nil {
			log.Fatal(err)
		}
	}
}

// module is the WebAssembly of a transform.
func module() []byte { return wasmtest.Identity() }
