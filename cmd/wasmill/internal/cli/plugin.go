package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/sdk"
)

func (a *app) pluginCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:     "plugin",
		Short:   "Make projects for transforms of your own",
		Example: "  wasmill plugin new redact --lang go",
	})
	cmd.AddCommand(a.pluginNew())
	return cmd
}

func (a *app) pluginNew() *cobra.Command {
	var lang, dir string
	languages := sdk.Languages()
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a project that builds into a module",
		Long: `Make a project that builds into a module: sources with a test, the SDK, a Makefile and a README that
says how to build, test and deploy it.

Languages: ` + strings.Join(languages, ", ") + `.`,
		Example: `  wasmill plugin new redact
  wasmill plugin new redact --lang rust --dir ./plugins/redact`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			name := given[0]
			if dir == "" {
				dir = name
			}
			err := sdk.NewProject(dir, name, lang)
			switch {
			case errors.Is(err, sdk.ErrLanguage), errors.Is(err, sdk.ErrName):
				return usage(cmd, "%w", err)
			case errors.Is(err, sdk.ErrNotEmpty):
				return hinted{error: err, hint: "Name another directory with --dir."}
			case err != nil:
				return err
			}
			made := map[string]string{"name": name, "lang": lang, "dir": dir}
			return a.output(made, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "made %s\n\nNext:\n  make -C %s\n  wasmill module push %s %s\n\n%s says more.\n", dir, dir, name,
					filepath.Join(dir, name+".wasm"), filepath.Join(dir, "README.md"))
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&lang, "lang", "l", "go", strings.Join(languages, ", "))
	cmd.Flags().StringVarP(&dir, "dir", "d", "", "directory to make (default: the name)")
	complete(cmd, "lang", languages...)
	return cmd
}
