package cli

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/core/errcode"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// TestNextCommandsExist looks up every command that a hint names.
func TestNextCommandsExist(t *testing.T) {
	quoted := regexp.MustCompile(`'wasmill ([^']*)'`)
	for code, text := range nextCommands {
		for _, m := range quoted.FindAllStringSubmatch(text, -1) {
			found, rest, err := Root("test", &cobra.Command{Use: "serve"}).Find(strings.Fields(m[1]))
			if err != nil || !found.Runnable() {
				t.Errorf("%s: %s: %v", code, m[0], err)
				continue
			}
			if err := found.Args(found, rest); err != nil {
				t.Errorf("%s: %s: %v", code, m[0], err)
			}
		}
	}
}

// TestDamagedLogsAreVerified looks for the command that finds the damage, behind every error that names one.
func TestDamagedLogsAreVerified(t *testing.T) {
	refusal := func(code errcode.Code) error {
		return fmt.Errorf("fetch: %w", &client.Error{Code: code, Name: code.String(), Status: code.Info().HTTPStatus})
	}
	for _, err := range []error{refusal(errcode.StorageFailed), readHint(refusal(errcode.CorruptMessage))} {
		if !strings.Contains(hint(err), "wasmill log verify") {
			t.Errorf("%v: hint %q", err, hint(err))
		}
	}
	if h := hint(refusal(errcode.CorruptMessage)); h != "" {
		t.Errorf("a producer's broken batch has the hint %q", h)
	}
}
