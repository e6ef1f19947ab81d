package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

func (a *app) deriveCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "derive",
		Short: "Create, list, show and delete derivations",
		Long: `Create, list, show and delete derivations. A derivation continuously runs a topic's records through
a pipeline into other topics, each exactly once.`,
		Example: `  wasmill derive create totals --topic orders --output order-totals --stage total@1
  wasmill derive list`,
	})
	var condition conditionFlag
	remove := a.deleteCommand("derivation", "Stop and delete derivations; what they wrote stays", "  wasmill derive delete totals", nil,
		func(ctx context.Context, c *client.Client, name string) error {
			return c.DeleteDerivation(ctx, name, condition.conditions()...)
		})
	condition.registerDelete(remove)
	cmd.AddCommand(a.deriveCreate(), a.deriveList(), a.deriveGet(), remove)
	return cmd
}

func (a *app) deriveCreate() *cobra.Command {
	var f stageFlags
	var condition conditionFlag
	var spec client.DerivationSpec
	cmd := &cobra.Command{
		Use:     "create DERIVATION",
		Aliases: []string{"set"},
		Short:   "Create or replace a derivation",
		Long:    "Create or replace a derivation.\n" + stageHelp,
		Example: `  wasmill derive create totals --topic orders --output order-totals --stage total@1
  wasmill derive create alerts --topic logs --output alerts --start-from latest --file alerts.yaml`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			in, err := f.read(cmd, a.In)
			if err != nil {
				return err
			}
			for _, v := range []struct {
				flag *string
				file string
			}{{&spec.Topic, in.Topic}, {&spec.Output, in.Output}, {&spec.StartFrom, in.StartFrom}} {
				if *v.flag == "" {
					*v.flag = v.file
				}
			}
			if spec.Topic == "" || spec.Output == "" {
				return usage(cmd, "give the topics with --topic and --output")
			}
			spec.Stages = in.Stages
			return a.withClient(func(c *client.Client) error {
				d, err := c.PutDerivation(cmd.Context(), given[0], spec, condition.conditions()...)
				if err != nil {
					return err
				}
				return a.showDerivation(d)
			})
		},
	}
	f.register(cmd)
	condition.registerPut(cmd)
	cmd.Flags().StringVarP(&spec.Topic, "topic", "t", "", "topic to read")
	cmd.Flags().StringVarP(&spec.Output, "output", "o", "", "topic for the records that no stage sends elsewhere")
	cmd.Flags().StringVar(&spec.StartFrom, "start-from", "", "earliest (default) or latest; counts when it is created")
	completeFlag(cmd, "topic", a.completeTopics(false))
	completeFlag(cmd, "output", a.completeTopics(false))
	complete(cmd, "start-from", client.Earliest, client.Latest)
	return cmd
}

func (a *app) deriveList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the derivations and how far behind they are",
		Example: "  wasmill derive list",
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				ds, err := c.Derivations(cmd.Context())
				if err != nil {
					return err
				}
				return a.output(listOf("derivations", ds), func(w io.Writer) error {
					if len(ds) == 0 {
						a.say("No derivations yet. Create one with 'wasmill derive create NAME --topic TOPIC --output TOPIC --stage MODULE'.")
						return nil
					}
					t := a.newTable(table.Row{"derivation", "topic", "output", "stages", "lag", "state"}, 5)
					for _, d := range ds {
						lag, state := derivationState(d)
						t.AppendRow(table.Row{d.Name, d.Topic, d.Output, stageNames(d.Stages), count(lag), state})
					}
					return render(w, t)
				})
			})
		},
	}
}

func (a *app) deriveGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get DERIVATION",
		Short:   "Show a derivation and its progress",
		Example: "  wasmill derive get totals",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.withClient(func(c *client.Client) error {
				d, err := c.Derivation(cmd.Context(), given[0])
				if err != nil {
					return err
				}
				return a.showDerivation(d)
			})
		},
	}
}

func (a *app) showDerivation(d *client.Derivation) error {
	return a.output(d, func(w io.Writer) error {
		fmt.Fprintf(w, "Derivation  %s\nTopic       %s\nOutput      %s\nStart from  %s\nVersion     %d\nUpdated     %s\n\n",
			d.Name, d.Topic, d.Output, d.StartFrom, d.Version, when(d.UpdatedAt))
		if err := a.stageTable(w, d.Stages); err != nil {
			return err
		}
		if len(d.Progress) == 0 {
			return nil
		}
		fmt.Fprintln(w)
		t := a.newTable(table.Row{"partition", "next offset", "lag", "state"}, 1, 2, 3)
		for _, p := range d.Progress {
			t.AppendRow(table.Row{p.Partition, p.NextOffset, count(p.Lag), orOK(p.Error)})
		}
		return render(w, t)
	})
}

// derivationState sums the partitions up.
func derivationState(d client.Derivation) (lag int64, state string) {
	state = "ok"
	for _, p := range d.Progress {
		lag += p.Lag
		if p.Error != "" {
			state = p.Error
		}
	}
	return lag, state
}

func orOK(fault string) string {
	if fault == "" {
		return "ok"
	}
	return fault
}
