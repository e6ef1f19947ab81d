package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/spf13/cobra"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

// stageHelp is the part of help that pipelines, views and derivations share.
const stageHelp = `
A --stage is MODULE[@VERSION], then comma-separated settings, of which config comes last:
  on_error=reject|skip|drop|dead_letter   what becomes of a record that the stage fails on
  dead_letter_topic=TOPIC                 where on_error=dead_letter sends it
  memory=SIZE                             limit of one instance's memory, such as 64MiB
  config=JSON or config=@FILE             what the module is configured with

A --file is YAML or JSON: {"stages": [{"module": "redact@2", "config": {...}, "on_error": "skip"}]}.`

// stageFlags are how stages are given.
type stageFlags struct {
	stages []string
	file   string
}

func (f *stageFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.stages, "stage", "s", nil, "stage of the pipeline, repeatable, in order")
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "YAML or JSON file with the stages, - for standard input")
}

// read takes the stages from the flags or the file, and from the file also the topic and the like of views
// and derivations.
func (f *stageFlags) read(cmd *cobra.Command, in io.Reader) (client.DerivationSpec, error) {
	var p client.DerivationSpec
	switch {
	case f.file != "" && len(f.stages) > 0:
		return p, usage(cmd, "--stage and --file exclude each other")
	case f.file != "":
		b, err := readFile(f.file, in)
		if err == nil {
			err = parsePipeline(b, &p)
		}
		if err != nil {
			return p, usage(cmd, "--file %s: %w", f.file, err)
		}
	case len(f.stages) > 0:
		for _, text := range f.stages {
			s, err := parseStage(text)
			if err != nil {
				return p, usage(cmd, "--stage %q: %w", clip(text), err)
			}
			p.Stages = append(p.Stages, s)
		}
	}
	if len(p.Stages) == 0 {
		return p, usage(cmd, "give at least one --stage, or a --file with stages")
	}
	return p, nil
}

// maxFile is the largest pipeline, configuration or record file that is read into memory, in bytes.
const maxFile = 64 << 20

// readFile reads a file, or standard input for "-".
func readFile(name string, stdin io.Reader) ([]byte, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return b, err
}

// parsePipeline reads YAML, of which JSON is a part. Unknown members are faults.
func parsePipeline(b []byte, p *client.DerivationSpec) error {
	m, err := yaml.Parser().Unmarshal(b)
	if err != nil {
		return err
	}
	if b, err = json.Marshal(m); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(p)
}

// parseStage reads the text of one --stage.
func parseStage(text string) (client.Stage, error) {
	name, rest, _ := strings.Cut(text, ",")
	s := client.Stage{Module: strings.TrimSpace(name)}
	if s.Module == "" {
		return s, errors.New("it names no module")
	}
	for rest != "" {
		var setting string
		if strings.HasPrefix(rest, "config=") {
			setting, rest = rest, ""
		} else {
			setting, rest, _ = strings.Cut(rest, ",")
		}
		key, value, ok := strings.Cut(setting, "=")
		if !ok || value == "" {
			return s, fmt.Errorf("%q is not KEY=VALUE", setting)
		}
		if err := setStage(&s, key, value); err != nil {
			return s, err
		}
	}
	return s, nil
}

func setStage(s *client.Stage, key, value string) (err error) {
	switch key {
	case "on_error":
		s.OnError = client.OnError(value)
	case "dead_letter_topic":
		s.DeadLetterTopic = value
	case "memory":
		var n uint64
		if n, err = humanize.ParseBytes(value); err != nil || n > 4<<30 {
			return fmt.Errorf("memory %q is not a size up to 4GiB", value)
		}
		s.Limits.MemoryBytes = int64(n)
	case "config":
		s.Config, err = jsonArgument(value)
	default:
		err = fmt.Errorf("unknown setting %q: one of on_error, dead_letter_topic, memory, config", key)
	}
	return err
}

// stageTable shows stages in their order.
func (a *app) stageTable(w io.Writer, stages []client.Stage) error {
	t := a.newTable(table.Row{"stage", "module", "on error", "config"}, 1)
	for i, s := range stages {
		onError := orDash(string(s.OnError))
		if s.DeadLetterTopic != "" {
			onError += " to " + s.DeadLetterTopic
		}
		config := "-"
		if len(s.Config) > 0 {
			config = clip(string(s.Config))
		}
		t.AppendRow(table.Row{i + 1, moduleName(s), onError, config})
	}
	return render(w, t)
}

// stageNames is a pipeline in short: "check@3, redact@2".
func stageNames(stages []client.Stage) string {
	names := make([]string, len(stages))
	for i, s := range stages {
		names[i] = moduleName(s)
	}
	return strings.Join(names, ", ")
}

func moduleName(s client.Stage) string {
	if s.Version > 0 && !strings.Contains(s.Module, "@") {
		return fmt.Sprintf("%s@%d", s.Module, s.Version)
	}
	return s.Module
}
