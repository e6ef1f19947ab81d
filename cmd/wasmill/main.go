// Command wasmill is Wasmill's one program: the broker (wasmill serve) and the command line that
// administers it, writes and reads records, and looks into its files.
package main

import (
	"context"
	"os"

	"github.com/wasmill/wasmill/cmd/wasmill/internal/cli"
)

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
var version = "devel"

func main() {
	s := cli.StandardStreams()
	os.Exit(cli.Run(context.Background(), s, version, os.Args[1:], serveCommand(s)))
}
