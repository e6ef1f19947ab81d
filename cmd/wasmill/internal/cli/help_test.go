package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// walk calls f with every command that people see.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			walk(sub, f)
		}
	}
}

// completionCommands come from cobra, whose help is its own affair.
func isCompletion(cmd *cobra.Command) bool {
	return strings.HasPrefix(cmd.CommandPath()+" ", "wasmill completion ")
}

func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	walk(Root("test", nil), func(cmd *cobra.Command) {
		if isCompletion(cmd) {
			return
		}
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s lacks a summary or examples", cmd.CommandPath())
		}
		if strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the summary ends with a full stop", cmd.CommandPath())
		}
		for _, line := range strings.Split(cmd.Long, "\n") {
			if len(line) > 110 {
				t.Errorf("%s: a line of help has %d characters: %s", cmd.CommandPath(), len(line), line)
			}
		}
	})
}

// The examples in help must at least parse.
func TestExamplesParse(t *testing.T) {
	root := Root("test", &cobra.Command{Use: "serve", Run: func(*cobra.Command, []string) {}})
	walk(root, func(cmd *cobra.Command) {
		if isCompletion(cmd) {
			return
		}
		for _, line := range strings.Split(cmd.Example, "\n") {
			_, line, ok := strings.Cut(line, "wasmill ")
			if !ok || strings.HasPrefix(line, "serve") {
				continue
			}
			line, _, _ = strings.Cut(line, " | ")
			line, _, _ = strings.Cut(line, " > ")
			words := shellWords(line)
			found, rest, err := Root("test", &cobra.Command{Use: "serve"}).Find(words)
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil && found.Args != nil {
				err = found.Args(found, found.Flags().Args())
			}
			if err != nil || !found.Runnable() {
				t.Errorf("%s: example %q: %v", cmd.CommandPath(), line, err)
			}
		}
	})
}

// shellWords splits as a shell does as far as the examples go: blanks and single quotes.
func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 0 {
			words = append(words, strings.Fields(part)...)
		} else {
			words = append(words, part)
		}
	}
	return words
}

func TestTopicNamesAreCompleted(t *testing.T) {
	url := cannedServer(t)
	r := at(t, url, "", "__complete", "consume", "")
	if r.code != ExitOK || r.out != "orders\nlogs\norders-public\n:4\n" {
		t.Errorf("%+v", r)
	}
	if r := at(t, url, "", "__complete", "produce", ""); r.out != "orders\nlogs\n:4\n" {
		t.Errorf("%+v", r)
	}
	if r := at(t, url, "", "completion", "bash"); r.code != ExitOK || len(r.out) < 1000 {
		t.Errorf("%+v", r)
	}
}
