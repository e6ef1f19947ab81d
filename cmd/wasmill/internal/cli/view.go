package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

func (a *app) viewCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "view",
		Short: "Create, list, show and delete views",
		Long: `Create, list, show and delete views. A view is a read-only topic name: a topic seen through a
pipeline that runs when records are read. Offsets stay the topic's.`,
		Example: `  wasmill view create orders-public --topic orders --stage redact@2
  wasmill consume orders-public`,
	})
	var condition conditionFlag
	remove := a.deleteCommand("view", "Delete views; their topics stay", "  wasmill view delete orders-public", nil,
		func(ctx context.Context, c *client.Client, name string) error {
			return c.DeleteView(ctx, name, condition.conditions()...)
		})
	condition.registerDelete(remove)
	cmd.AddCommand(a.viewCreate(), a.viewList(), a.viewGet(), remove)
	return cmd
}

func (a *app) viewCreate() *cobra.Command {
	var f stageFlags
	var condition conditionFlag
	var topic string
	cmd := &cobra.Command{
		Use:     "create VIEW",
		Aliases: []string{"set"},
		Short:   "Create or replace a view",
		Long:    "Create or replace a view.\n" + stageHelp,
		Example: `  wasmill view create orders-public --topic orders --stage redact@2
  wasmill view create big-orders --topic orders --stage 'filter-field,config={"field":"total","min":1000}'`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			in, err := f.read(cmd, a.In)
			if err != nil {
				return err
			}
			if topic == "" {
				topic = in.Topic
			}
			if topic == "" {
				return usage(cmd, "give the topic with --topic")
			}
			return a.withClient(func(c *client.Client) error {
				v, err := c.PutView(cmd.Context(), given[0], topic, in.Stages, condition.conditions()...)
				if err != nil {
					return err
				}
				return a.showView(v)
			})
		},
	}
	f.register(cmd)
	condition.registerPut(cmd)
	cmd.Flags().StringVarP(&topic, "topic", "t", "", "topic to look at")
	completeFlag(cmd, "topic", a.completeTopics(false))
	return cmd
}

func (a *app) viewList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the views",
		Example: "  wasmill view list",
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				views, err := c.Views(cmd.Context())
				if err != nil {
					return err
				}
				return a.output(listOf("views", views), func(w io.Writer) error {
					if len(views) == 0 {
						a.say("No views yet. Create one with 'wasmill view create NAME --topic TOPIC --stage MODULE'.")
						return nil
					}
					t := a.newTable(table.Row{"view", "topic", "version", "stages", "updated"}, 3)
					for _, v := range views {
						t.AppendRow(table.Row{v.Name, v.Topic, v.Version, stageNames(v.Stages), when(v.UpdatedAt)})
					}
					return render(w, t)
				})
			})
		},
	}
}

func (a *app) viewGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get VIEW",
		Short:   "Show a view",
		Example: "  wasmill view get orders-public",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.withClient(func(c *client.Client) error {
				v, err := c.View(cmd.Context(), given[0])
				if err != nil {
					return err
				}
				return a.showView(v)
			})
		},
	}
}

func (a *app) showView(v *client.View) error {
	return a.output(v, func(w io.Writer) error {
		fmt.Fprintf(w, "View     %s\nTopic    %s\nVersion  %d\nUpdated  %s\n\n", v.Name, v.Topic, v.Version, when(v.UpdatedAt))
		return a.stageTable(w, v.Stages)
	})
}
