package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/wasmill/wasmill/core/errcode"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

func (a *app) topicCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "topic",
		Short: "Create, list, describe, alter and delete topics",
		Example: `  wasmill topic create orders --partitions 4 --config retention.ms=604800000
  wasmill topic list
  wasmill topic describe orders --json`,
	})
	cmd.AddCommand(a.topicCreate(), a.topicList(), a.topicDescribe(), a.topicAlter(), a.topicDelete())
	return cmd
}

func (a *app) topicCreate() *cobra.Command {
	var spec client.TopicSpec
	var config []string
	var ifAbsent bool
	cmd := &cobra.Command{
		Use:   "create TOPIC",
		Short: "Create a topic",
		Example: `  wasmill topic create orders
  wasmill topic create orders --partitions 8 --config flush=relaxed --config retention.bytes=1073741824`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			spec.Name = given[0]
			if spec.Config, err = pairs(cmd, "--config", config); err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				t, err := c.CreateTopic(cmd.Context(), spec)
				if ifAbsent && client.IsCode(err, errcode.TopicAlreadyExists) {
					t, err = c.Topic(cmd.Context(), spec.Name)
				}
				if err != nil {
					return err
				}
				return a.output(t, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "topic %s has %s\n", t.Name, plural(int64(t.Partitions), "partition"))
					return err
				})
			})
		},
	}
	f := cmd.Flags()
	f.Int32VarP(&spec.Partitions, "partitions", "p", 0, "number of partitions (default: the broker's, 1)")
	f.Int16Var(&spec.Replication, "replication", 0, "copies of each partition (default: the broker's, 1)")
	f.StringArrayVarP(&config, "config", "c", nil, "KEY=VALUE, repeatable")
	f.BoolVar(&ifAbsent, "if-absent", false, "succeed when the topic is there already")
	return cmd
}

func (a *app) topicList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the topics",
		Example: "  wasmill topic list\n  wasmill topic list --json",
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				topics, err := c.Topics(cmd.Context())
				if err != nil {
					return err
				}
				return a.output(listOf("topics", topics), func(w io.Writer) error { return a.topicTable(w, topics) })
			})
		},
	}
}

func (a *app) topicTable(w io.Writer, topics []client.Topic) error {
	if len(topics) == 0 {
		a.say("No topics yet. Create one with 'wasmill topic create NAME'.")
		return nil
	}
	t := a.newTable(table.Row{"topic", "partitions", "replication", "records", "size", "pipeline", "created"}, 2, 3, 4, 5)
	for _, tp := range topics {
		records, bytes := int64(0), int64(0)
		for _, p := range tp.State {
			records += p.HighWatermark - p.LogStartOffset
			bytes += p.SizeBytes
		}
		pipeline := "-"
		if tp.PipelineVersion > 0 {
			pipeline = fmt.Sprintf("v%d", tp.PipelineVersion)
		}
		t.AppendRow(table.Row{tp.Name, tp.Partitions, tp.Replication, count(records), size(bytes), pipeline, when(tp.CreatedAt)})
	}
	return render(w, t)
}

func (a *app) topicDescribe() *cobra.Command {
	return &cobra.Command{
		Use:               "describe TOPIC",
		Short:             "Show a topic's configuration and the state of its partitions",
		Example:           "  wasmill topic describe orders\n  wasmill topic describe orders --json | jq '.partition_state[].high_watermark'",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTopics(false),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.withClient(func(c *client.Client) error {
				t, err := c.Topic(cmd.Context(), given[0])
				if err != nil {
					return err
				}
				return a.output(t, func(w io.Writer) error { return a.describeTopic(w, t) })
			})
		},
	}
}

func (a *app) describeTopic(w io.Writer, t *client.Topic) error {
	pipeline := "none"
	if t.PipelineVersion > 0 {
		pipeline = fmt.Sprintf("version %d", t.PipelineVersion)
	}
	fmt.Fprintf(w, "Topic        %s (id %d)\nPartitions   %d\nReplication  %d\nPipeline     %s\nCreated      %s\n\n",
		t.Name, t.ID, t.Partitions, t.Replication, pipeline, when(t.CreatedAt))
	config := a.newTable(table.Row{"config", "value", "source"})
	for _, key := range slices.Sorted(maps.Keys(t.Effective)) {
		source := "default"
		if _, set := t.Config[key]; set {
			source = "set"
		}
		config.AppendRow(table.Row{key, t.Effective[key], source})
	}
	if err := render(w, config); err != nil {
		return err
	}
	fmt.Fprintln(w)
	parts := a.newTable(table.Row{"partition", "leader", "start", "end", "records", "size", "state"}, 1, 3, 4, 5, 6)
	for _, p := range t.State {
		parts.AppendRow(table.Row{p.Partition, p.Leader, p.LogStartOffset, p.HighWatermark,
			count(p.HighWatermark - p.LogStartOffset), size(p.SizeBytes), orOK(p.Error)})
	}
	return render(w, parts)
}

func (a *app) topicAlter() *cobra.Command {
	var change client.TopicChange
	var config, reset []string
	cmd := &cobra.Command{
		Use:   "alter TOPIC",
		Short: "Change a topic's configuration or add partitions",
		Long: `Change a topic's configuration or add partitions.

Added partitions change which partition a key belongs to from then on.`,
		Example: `  wasmill topic alter orders --config retention.ms=86400000
  wasmill topic alter orders --reset retention.ms
  wasmill topic alter orders --partitions 16`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTopics(false),
		RunE: func(cmd *cobra.Command, given []string) error {
			set, err := pairs(cmd, "--config", config)
			if err != nil {
				return err
			}
			change.Config = make(map[string]*string, len(set)+len(reset))
			for k, v := range set {
				change.Config[k] = &v
			}
			for _, k := range reset {
				change.Config[k] = nil
			}
			if change.Partitions == 0 && len(change.Config) == 0 {
				return usage(cmd, "nothing to change: give --partitions, --config or --reset")
			}
			return a.withClient(func(c *client.Client) error {
				t, err := c.AlterTopic(cmd.Context(), given[0], change)
				if err != nil {
					return err
				}
				return a.output(t, func(w io.Writer) error { return a.describeTopic(w, t) })
			})
		},
	}
	f := cmd.Flags()
	f.Int32VarP(&change.Partitions, "partitions", "p", 0, "new number of partitions; it may only grow")
	f.StringArrayVarP(&config, "config", "c", nil, "KEY=VALUE to set, repeatable")
	f.StringArrayVar(&reset, "reset", nil, "KEY to set back to its default, repeatable")
	return cmd
}

func (a *app) topicDelete() *cobra.Command {
	return a.deleteCommand("topic", "Delete topics and their records",
		"  wasmill topic delete orders", a.completeTopics(false),
		func(ctx context.Context, c *client.Client, name string) error { return c.DeleteTopic(ctx, name) })
}

// deleteCommand deletes things by name, one after the other.
func (a *app) deleteCommand(kind, short, example string, complete cobra.CompletionFunc,
	del func(context.Context, *client.Client, string) error) *cobra.Command {
	return &cobra.Command{
		Use:               fmt.Sprintf("delete %s...", strings.ToUpper(kind)),
		Aliases:           []string{"rm"},
		Short:             short,
		Example:           example,
		Args:              args(1, -1),
		ValidArgsFunction: complete,
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withClient(func(c *client.Client) error {
				for _, name := range names {
					if err := del(cmd.Context(), c, name); err != nil {
						return err
					}
				}
				return a.output(map[string]any{"deleted": names}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "deleted %s\n", strings.Join(names, ", "))
					return err
				})
			})
		},
	}
}
