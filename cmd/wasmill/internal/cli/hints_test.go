package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
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
