package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	envPrefix = "WASMILL_"
	envFile   = envPrefix + "CONFIG"
)

// Load reads the configuration: the file that is named (by WASMILL_CONFIG when name is empty; none
// is fine too), variables, and the flags of f that were given. Every fault is reported at once.
func Load(f *pflag.FlagSet, name string) (Config, error) {
	c := Default()
	k := koanf.New("\x00") // keys are flat: no character of a key separates levels
	if name == "" {
		name = os.Getenv(envFile)
	}
	known := keys()
	if name != "" {
		if err := loadFile(k, name, known); err != nil {
			return c, err
		}
	}
	fromEnv := func(variable string) string {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, envPrefix)), "_", "-")
		if !slices.Contains(known, key) {
			return "" // left out: other commands have variables of their own
		}
		return key
	}
	if err := k.Load(env.Provider(envPrefix, "\x00", fromEnv), nil); err != nil {
		return c, fmt.Errorf("read %s variables: %w", envPrefix, err)
	}
	given := func(fl *pflag.Flag) (string, any) {
		if !fl.Changed || !slices.Contains(known, fl.Name) {
			return "", nil
		}
		return fl.Name, fl.Value.String()
	}
	if err := k.Load(posflag.ProviderWithFlag(f, "\x00", k, given), nil); err != nil {
		return c, fmt.Errorf("read flags: %w", err)
	}
	if err := k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{Tag: "koanf"}); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if !k.Exists("max-fetch-bytes") {
		// Little memory is reason enough for small answers: only a size that was asked for is a fault.
		c.MaxFetchBytes = min(c.MaxFetchBytes, c.answerBytes())
	}
	return c, c.Validate()
}

// loadFile reads a YAML file; a key that means nothing is a fault, for it is most often a misspelt one.
func loadFile(k *koanf.Koanf, name string, known []string) error {
	if err := k.Load(file.Provider(name), yaml.Parser()); err != nil {
		return fmt.Errorf("configuration file %s: %w", name, err)
	}
	var faults []error
	for _, key := range k.Keys() {
		if top, _, _ := strings.Cut(key, "\x00"); !slices.Contains(known, top) {
			faults = append(faults, fmt.Errorf("configuration file %s: unknown key %q; known are %s", name, top, strings.Join(known, ", ")))
		}
	}
	return errors.Join(faults...)
}

// keys are the names of all values, sorted.
func keys() []string {
	var names []string
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	Flags(f)
	f.VisitAll(func(fl *pflag.Flag) { names = append(names, fl.Name) })
	return names
}
