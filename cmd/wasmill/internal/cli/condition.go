package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

// conditionFlag is --if-version.
type conditionFlag struct {
	version uint64
	flag    *pflag.Flag // whether it was given: 0 is a version too
}

// registerPut adds the flag to a command that makes or replaces something.
func (f *conditionFlag) registerPut(cmd *cobra.Command) {
	f.register(cmd, "go on only if this version is in force, 0 for none yet")
}

// registerDelete adds the flag to a command that deletes things: with it, one at a time.
func (f *conditionFlag) registerDelete(cmd *cobra.Command) {
	f.register(cmd, "go on only if this version is in force; for one name at a time")
	count := cmd.Args
	cmd.Args = func(cmd *cobra.Command, names []string) error {
		if err := count(cmd, names); err != nil {
			return err
		}
		switch {
		case f.flag.Changed && len(names) > 1:
			return usage(cmd, "--if-version is one version: delete one at a time")
		case f.flag.Changed && f.version == 0:
			return usage(cmd, "--if-version 0 means that there is nothing to delete")
		}
		return nil
	}
}

func (f *conditionFlag) register(cmd *cobra.Command, help string) {
	cmd.Flags().Uint64Var(&f.version, "if-version", 0, help)
	f.flag = cmd.Flags().Lookup("if-version")
}

// conditions are those of the call.
func (f *conditionFlag) conditions() []client.Condition {
	switch {
	case !f.flag.Changed:
		return nil
	case f.version == 0:
		return []client.Condition{client.IfAbsent()}
	}
	return []client.Condition{client.IfVersion(f.version)}
}
