package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/cmd/wasmill/internal/cli"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

// docs/cli.md is made from the commands' help, here.
func TestDocumentation(t *testing.T) {
	const file = "../../docs/cli.md"
	got := document(cli.Root("devel", serveCommand(cli.StandardStreams())))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("docs/cli.md is not what the commands' help says; run: go test ./cmd/wasmill -run TestDocumentation -update (%v)", err)
	}
}

// document writes one section per command.
func document(root *cobra.Command) string {
	var b bytes.Buffer
	b.WriteString("# The command line\n\nMade from the commands' own help. Every command takes the flags of [wasmill](#wasmill) too.\n")
	root.InitDefaultCompletionCmd()
	documentTree(&b, root)
	return b.String()
}

func documentTree(b *bytes.Buffer, cmd *cobra.Command) {
	documentCommand(b, cmd)
	if cmd.Name() == "completion" {
		return // one section does for all shells
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			documentTree(b, sub)
		}
	}
}

func documentCommand(b *bytes.Buffer, cmd *cobra.Command) {
	long := cmd.Long
	if long == "" {
		long = cmd.Short
	}
	fmt.Fprintf(b, "\n## %s\n\n```text\n%s\n```\n", cmd.CommandPath(), strings.TrimSpace(long))
	if !cmd.HasSubCommands() {
		fmt.Fprintf(b, "\n```text\n%s\n```\n", cmd.UseLine())
	}
	if flags := cmd.LocalFlags().FlagUsages(); flags != "" {
		fmt.Fprintf(b, "\n```text\n%s```\n", flags)
	}
	if cmd.Example != "" {
		examples := strings.ReplaceAll("\n"+cmd.Example, "\n  ", "\n")
		fmt.Fprintf(b, "\nExamples:\n\n```sh%s\n```\n", strings.TrimSuffix(examples, "\n"))
	}
}
