package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

func (a *app) pipelineCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "pipeline",
		Short: "Set, show and delete the write pipeline of a topic",
		Long: `Set, show and delete the write pipeline of a topic: the modules that every record passes before it
is written. A change takes effect for whole batches: none sees two versions.`,
		Example: `  wasmill pipeline set orders --stage check@3 --stage redact@2,on_error=skip
  wasmill pipeline get orders`,
	})
	var condition conditionFlag
	remove := a.deleteCommand("topic", "Take the write pipelines of topics away", "  wasmill pipeline delete orders", a.completeTopics(false),
		func(ctx context.Context, c *client.Client, name string) error {
			return pipelineHint(name, c.DeletePipeline(ctx, name, condition.conditions()...))
		})
	condition.registerDelete(remove)
	cmd.AddCommand(a.pipelineSet(), a.pipelineGet(), remove)
	return cmd
}

func (a *app) pipelineSet() *cobra.Command {
	var f stageFlags
	var condition conditionFlag
	cmd := &cobra.Command{
		Use:   "set TOPIC",
		Short: "Replace the write pipeline of a topic",
		Long:  "Replace the write pipeline of a topic.\n" + stageHelp,
		Example: `  wasmill pipeline set orders --stage check@3
  wasmill pipeline set orders --stage 'redact@2,on_error=dead_letter,dead_letter_topic=bad,config={"fields":["email"]}'
  wasmill pipeline set orders --file pipeline.yaml --if-version 3`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTopics(false),
		RunE: func(cmd *cobra.Command, given []string) error {
			in, err := f.read(cmd, a.In)
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				p, err := c.SetPipeline(cmd.Context(), given[0], in.Stages, condition.conditions()...)
				if err != nil {
					return err
				}
				return a.showPipeline(p)
			})
		},
	}
	f.register(cmd)
	condition.registerPut(cmd)
	return cmd
}

func (a *app) pipelineGet() *cobra.Command {
	return &cobra.Command{
		Use:               "get TOPIC",
		Short:             "Show the write pipeline of a topic",
		Example:           "  wasmill pipeline get orders\n  wasmill pipeline get orders --json > pipeline.json",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTopics(false),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.withClient(func(c *client.Client) error {
				p, err := c.Pipeline(cmd.Context(), given[0])
				if err != nil {
					return pipelineHint(given[0], err)
				}
				return a.showPipeline(p)
			})
		},
	}
}

func (a *app) showPipeline(p *client.Pipeline) error {
	return a.output(p, func(w io.Writer) error {
		fmt.Fprintf(w, "Topic    %s\nVersion  %d\nUpdated  %s\n\n", p.Topic, p.Version, when(p.UpdatedAt))
		return a.stageTable(w, p.Stages)
	})
}
