package broker

import (
	"sync/atomic"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
)

// table is what the broker serves: replaced as a whole when the metadata changes, so that requests
// read it without a lock and see one state of it.
type table struct {
	topics map[string]*topic
	views  map[string]*view
	rolled chan struct{} // some partition sealed a segment; shared by all tables of a broker
}

func newTable() *table {
	return &table{topics: map[string]*topic{}, views: map[string]*view{}, rolled: make(chan struct{}, 1)}
}

// topic is a topic with its local partitions. The pointer stays the same as long as the topic lives.
type topic struct {
	id     metadata.TopicID
	name   string
	meta   atomic.Pointer[metadata.Topic]
	config atomic.Pointer[metadata.TopicConfig]
	parts  atomic.Pointer[[]*partition.Partition]
	write  atomic.Pointer[livePipeline] // nil: none
	turn   atomic.Uint32                // next partition for records without a key
}

// newTopic has no partitions yet, and the default configuration.
func newTopic(m *metadata.Topic) *topic {
	t := &topic{id: m.ID, name: m.Name}
	t.meta.Store(m)
	config := metadata.DefaultTopicConfig()
	t.config.Store(&config)
	return t
}

func (t *topic) partitions() []*partition.Partition {
	if parts := t.parts.Load(); parts != nil {
		return *parts
	}
	return nil
}

// partition finds a partition by number.
func (t *topic) partition(number int32) (*partition.Partition, error) {
	parts := t.partitions()
	if len(parts) == 0 {
		return nil, errcode.New(errcode.NotLeaderOrFollower,
			"topic %q is not served yet: its partitions could not be opened, which is tried again; the broker's log says why", t.name).
			With("retry_after_ms", 1000)
	}
	if number < 0 || int(number) >= len(parts) {
		return nil, errcode.New(errcode.UnknownTopicOrPartition,
			"topic %q has partitions 0 to %d, there is no %d", t.name, len(parts)-1, number)
	}
	return parts[number], nil
}

// view is a read-only name for a topic seen through a pipeline.
type view struct {
	meta   *metadata.View
	source *topic
	read   *livePipeline
}

// topic finds a topic that may be written to.
func (b *Broker) topic(name string) (*topic, error) {
	tab := b.table.Load()
	if t := tab.topics[name]; t != nil {
		return t, nil
	}
	if v := tab.views[name]; v != nil {
		return nil, errcode.New(errcode.ViewReadOnly, "%q is a view of topic %q and read-only; produce to the topic", name, v.meta.Topic)
	}
	return nil, unknownTopic(name)
}

// source finds the topic that a name reads from, and the view if the name is one.
func (b *Broker) source(name string) (*topic, *view, error) {
	tab := b.table.Load()
	if t := tab.topics[name]; t != nil {
		return t, nil, nil
	}
	if v := tab.views[name]; v != nil {
		return v.source, v, nil
	}
	return nil, nil, unknownTopic(name)
}

func unknownTopic(name string) error {
	return errcode.New(errcode.UnknownTopicOrPartition,
		"there is no topic or view %q; create it first (`wasmill topic create %s`)", name, name)
}
