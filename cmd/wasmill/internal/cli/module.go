package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

func (a *app) moduleCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "module",
		Short: "Upload, try out, show and delete WebAssembly modules",
		Example: `  wasmill module push redact redact.wasm
  echo '{"value": {"email": "a@b.c"}}' | wasmill module test redact
  wasmill module list`,
	})
	cmd.AddCommand(a.modulePush(), a.moduleList(), a.moduleShow(), a.moduleGet(), a.moduleTest(), a.moduleDelete())
	return cmd
}

// moduleRef splits NAME[@VERSION]; version 0 is the newest.
func moduleRef(cmd *cobra.Command, s string) (name string, version int, err error) {
	name, v, given := strings.Cut(s, "@")
	if given {
		if version, err = strconv.Atoi(v); err != nil || version < 1 {
			return "", 0, usage(cmd, "%q: a version is a number from 1 on", s)
		}
	}
	if name == "" {
		return "", 0, usage(cmd, "%q names no module", s)
	}
	return name, version, nil
}

func (a *app) completeModules(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []string
	err := a.withClient(func(c *client.Client) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		modules, err := c.Modules(ctx)
		for _, m := range modules {
			names = append(names, m.Name)
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) modulePush() *cobra.Command {
	return &cobra.Command{
		Use:   "push [NAME] FILE.wasm",
		Short: "Upload a module, or a new version of it",
		Long: `Upload a module, or a new version of it. Without NAME it is called as the file is. The same bytes
again are no new version. Pipelines go on with the version that they name.`,
		Example: "  wasmill module push redact build/redact.wasm\n  wasmill module push redact.wasm",
		Args:    args(1, 2),
		RunE: func(cmd *cobra.Command, given []string) error {
			file := given[len(given)-1]
			name := strings.TrimSuffix(filepath.Base(file), ".wasm")
			if len(given) == 2 {
				name = given[0]
			}
			wasm, err := os.ReadFile(file)
			if err != nil {
				return &usageError{err: err, hint: "Name a WebAssembly file; 'wasmill plugin new' makes a project that builds one."}
			}
			return a.withClient(func(c *client.Client) error {
				m, err := c.PutModule(cmd.Context(), name, wasm)
				if err != nil {
					return err
				}
				return a.output(m, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "module %s@%d: %s, %s, reads %s, sha256 %s\n",
						m.Name, m.Version, size(m.Size), m.ABI, fieldNames(m.Fields), m.SHA256)
					return err
				})
			})
		},
	}
}

func fieldNames(fields []string) string {
	if len(fields) == 0 {
		return "nothing"
	}
	return strings.Join(fields, ", ")
}

func (a *app) moduleList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the modules with their newest versions",
		Example: "  wasmill module list",
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				modules, err := c.Modules(cmd.Context())
				if err != nil {
					return err
				}
				return a.output(listOf("modules", modules), func(w io.Writer) error {
					if len(modules) == 0 {
						a.say("No modules yet. Upload one with 'wasmill module push NAME FILE.wasm'.")
						return nil
					}
					return a.moduleTable(w, modules)
				})
			})
		},
	}
}

func (a *app) moduleTable(w io.Writer, modules []client.Module) error {
	t := a.newTable(table.Row{"module", "version", "abi", "reads", "size", "sha256", "created"}, 2, 5)
	for _, m := range modules {
		t.AppendRow(table.Row{m.Name, m.Version, m.ABI, fieldNames(m.Fields), size(m.Size), m.SHA256[:min(12, len(m.SHA256))], when(m.CreatedAt)})
	}
	return render(w, t)
}

func (a *app) moduleShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Show all versions of a module",
		Example:           "  wasmill module show redact\n  wasmill module show redact --json",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeModules,
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.withClient(func(c *client.Client) error {
				versions, err := c.ModuleVersions(cmd.Context(), given[0])
				if err != nil {
					return err
				}
				return a.output(listOf("versions", versions), func(w io.Writer) error { return a.moduleTable(w, versions) })
			})
		},
	}
}

func (a *app) moduleGet() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:               "get NAME[@VERSION]",
		Short:             "Download a module's bytes",
		Example:           "  wasmill module get redact@2 --output redact.wasm",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeModules,
		RunE: func(cmd *cobra.Command, given []string) error {
			name, version, err := moduleRef(cmd, given[0])
			if err != nil {
				return err
			}
			if out == "" && isTerminal(a.Out) {
				return usage(cmd, "the bytes of a module are not for a terminal: give --output FILE")
			}
			return a.withClient(func(c *client.Client) error {
				wasm, err := c.ModuleBytes(cmd.Context(), name, version)
				if err != nil {
					return err
				}
				if out == "" {
					_, err = a.Out.Write(wasm)
					return err
				}
				if err := os.WriteFile(out, wasm, 0o644); err != nil {
					return err
				}
				a.say("%s: %s", out, size(int64(len(wasm))))
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write; standard output without it")
	return cmd
}

func (a *app) moduleDelete() *cobra.Command {
	return a.deleteCommand("module", "Delete modules (NAME: all versions, NAME@VERSION: one)", "  wasmill module delete redact@1", a.completeModules,
		func(ctx context.Context, c *client.Client, ref string) error {
			name, version, err := moduleRef(&cobra.Command{Use: "delete"}, ref)
			if err != nil {
				return err
			}
			return c.DeleteModule(ctx, name, version)
		})
}

func (a *app) moduleTest() *cobra.Command {
	var in client.DryRun
	var file, config string
	cmd := &cobra.Command{
		Use:   "test NAME[@VERSION]",
		Short: "Run a module on records and show what it would do; nothing is written",
		Long: `Run a module on records and show what it would do; nothing is written.

Records are read as with 'produce --format ndjson': one JSON object per line with key, value, headers
and timestamp.`,
		Example: `  echo '{"key": "k", "value": {"email": "a@b.c"}}' | wasmill module test redact
  wasmill module test filter@2 --file samples.ndjson --config '{"field":"status"}' --json`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeModules,
		RunE: func(cmd *cobra.Command, given []string) error {
			name, version, err := moduleRef(cmd, given[0])
			if err != nil {
				return err
			}
			if config != "" {
				if in.Config, err = jsonArgument(config); err != nil {
					return usage(cmd, "--config: %w", err)
				}
			}
			text, err := readFile(file, a.In)
			if err != nil {
				return usage(cmd, "--file: %w", err)
			}
			if in.Records, err = sampleRecords(text); err != nil {
				return usage(cmd, "%s: %w", file, err)
			}
			return a.withClient(func(c *client.Client) error {
				res, err := c.DryRunModule(cmd.Context(), name, version, in)
				if err != nil {
					return err
				}
				return a.output(res, func(w io.Writer) error { return a.verdictTable(w, res) })
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&file, "file", "f", "-", "file with the records, - for standard input")
	fl.StringVar(&config, "config", "", "configuration of the module, JSON or @FILE")
	fl.StringVar(&in.Topic, "topic", "test", "topic name that the module is given")
	fl.Int32Var(&in.Partition, "partition", 0, "partition that the module is given")
	fl.StringVar(&in.Place, "place", "write", "write or view")
	fl.StringVar((*string)(&in.OnError), "on-error", "", "what becomes of records that the module fails on: reject, skip, drop or dead_letter")
	complete(cmd, "place", "write", "view")
	complete(cmd, "on-error", "reject", "skip", "drop", "dead_letter")
	return cmd
}

// sampleRecords reads NDJSON into the records of a dry run.
func sampleRecords(text []byte) ([]client.JSONRecord, error) {
	var out []client.JSONRecord
	for i, line := range bytes.Split(text, newline) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if _, err := parseRecord(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		var r client.JSONRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there are no records to try the module on")
	}
	return out, nil
}

func (a *app) verdictTable(w io.Writer, res *client.DryRunResult) error {
	t := a.newTable(table.Row{"record", "verdict", "what becomes of it"}, 1)
	for _, v := range res.Verdicts {
		what := make([]string, 0, 1+len(v.Outputs))
		if v.Message != "" || v.Code != 0 {
			what = append(what, fmt.Sprintf("%s (code %d)", v.Message, v.Code))
		}
		for _, o := range v.Outputs {
			what = append(what, fmt.Sprintf("%s: %s", o.Topic, shown(o)))
		}
		t.AppendRow(table.Row{v.Index, v.Verdict, strings.Join(what, "\n")})
	}
	if err := render(w, t); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s ran %s in %.3f ms; nothing was written\n", res.Module, plural(int64(len(res.Verdicts)), "record"), float64(res.ElapsedNS)/1e6)
	return err
}

// shown is an output record in one line.
func shown(o client.DryRunOutput) string {
	const most = 200
	text := "(null)"
	switch {
	case len(o.Value) > 0:
		text = string(o.Value)
	case o.ValueB64 != nil:
		text = fmt.Sprintf("%s of binary", size(int64(len(o.ValueB64))))
	}
	if len(o.Key) > 0 && string(o.Key) != "null" {
		text = string(o.Key) + " = " + text
	}
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
