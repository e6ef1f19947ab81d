package broker

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/wasmill/wasmill/core/datadir"
	"github.com/wasmill/wasmill/core/derive"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/transform"
)

// table is what the broker serves: replaced as a whole when the metadata changes, so that requests
// read it without a lock and see one state of it. A table that was published never changes.
type table struct {
	topics map[string]*topic
	views  map[string]*view
}

// clone copies the table for a change.
func (t *table) clone() *table {
	return &table{topics: maps.Clone(t.topics), views: maps.Clone(t.views)}
}

// topic is a topic that the broker serves. The pointer stays the same as long as the topic lives.
type topic struct {
	id    metadata.TopicID
	name  string
	state atomic.Pointer[topicState]
	write transform.Slot // the write pipeline
	turn  atomic.Uint32  // next partition for records without a key
}

// topicState is one state of a topic. A request looks at it once, so that it sees one number of partitions.
// It never changes.
type topicState struct {
	*topic
	meta   *metadata.Topic
	config metadata.TopicConfig
	places []place // by number; as many as meta has partitions
}

// newTopic has no state yet: it must be given one before anybody else sees it.
func newTopic(m *metadata.Topic) *topic { return &topic{id: m.ID, name: m.Name} }

// now is the topic's state.
func (t *topic) now() *topicState { return t.state.Load() }

// dirTopic identifies the topic in the data directory.
func (t *topic) dirTopic() datadir.Topic { return datadir.Topic{Name: t.name, ID: uint64(t.id)} }

// routing is what must be known to sort records into the topic's partitions.
func (s *topicState) routing() transform.Topic {
	return transform.Topic{
		ID: s.id, Name: s.name, Partitions: s.meta.Partitions, MaxMessageBytes: s.config.MaxMessageBytes, Turn: &s.turn,
	}
}

// place finds where a partition is served.
func (s *topicState) place(number int32) (*place, error) {
	if err := s.routing().Check(number); err != nil {
		return nil, err
	}
	return &s.places[number], nil
}

// replicas are the partitions of the topic that this broker serves.
func (s *topicState) replicas(yield func(number int32, p *partition.Partition) bool) {
	for i := range s.places {
		if p := s.places[i].replica; p != nil && !yield(int32(i), p) {
			return
		}
	}
}

// view is a read-only name for a topic seen through a pipeline. It never changes.
type view struct {
	meta   *metadata.View
	source *topic
	read   *transform.Pipeline
}

// catalog finds topics, views and partitions in the newest table. Safe for concurrent use.
type catalog struct{ newest atomic.Pointer[table] }

func newCatalog() *catalog {
	c := &catalog{}
	c.newest.Store(&table{topics: map[string]*topic{}, views: map[string]*view{}})
	return c
}

func (c *catalog) table() *table { return c.newest.Load() }

// topic finds a topic that may be written to.
func (c *catalog) topic(name string) (*topicState, error) {
	tab := c.table()
	if t := tab.topics[name]; t != nil {
		return t.now(), nil
	}
	if v := tab.views[name]; v != nil {
		return nil, errcode.New(errcode.ViewReadOnly, "%q is a view of topic %q and read-only; produce to the topic", name, v.meta.Topic)
	}
	return nil, unknownTopic(name)
}

// source finds the topic that a name reads from, and the view if the name is one.
func (c *catalog) source(name string) (*topicState, *view, error) {
	tab := c.table()
	if t := tab.topics[name]; t != nil {
		return t.now(), nil, nil
	}
	if v := tab.views[name]; v != nil {
		return v.source.now(), v, nil
	}
	return nil, nil, unknownTopic(name)
}

func unknownTopic(name string) error {
	return errcode.New(errcode.UnknownTopicOrPartition,
		"there is no topic or view %q; create a topic first with POST /v1/topics", name)
}

// states are all topics as they are now, in no order.
func (c *catalog) states(yield func(*topicState) bool) {
	for _, t := range c.table().topics {
		if !yield(t.now()) {
			return
		}
	}
}

// close closes every partition, and then every pipeline. The table stays as it is.
func (c *catalog) close() error {
	var g errgroup.Group
	g.SetLimit(startParallelism)
	var mu sync.Mutex
	var errs []error // all of them, where errgroup keeps the first
	for s := range c.states {
		for _, p := range s.replicas {
			g.Go(func() error {
				err := p.Close()
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
				return nil
			})
		}
	}
	_ = g.Wait()
	for s := range c.states {
		s.write.Clear()
	}
	for _, v := range c.table().views {
		v.read.Release()
	}
	return errors.Join(errs...)
}

// destinations is the catalog as pipelines and derivations see it.
type destinations struct {
	*catalog
	phases phases
}

// Topic implements transform.Topics.
func (d destinations) Topic(name string) (transform.Topic, error) {
	s, err := d.topic(name)
	if err != nil {
		return transform.Topic{}, err
	}
	return s.routing(), nil
}

// Destination implements derive.Topics.
func (d destinations) Destination(t transform.Topic, number int32) (derive.Destination, error) {
	return d.find(t, number)
}

// find finds a partition to write to, of the topic as it was when t was looked up. Topics of the same name
// that were made since are others.
func (d destinations) find(t transform.Topic, number int32) (*destination, error) {
	s, err := d.topic(t.Name)
	if err == nil && s.id != t.ID {
		err = errcode.New(errcode.UnknownTopicOrPartition, "topic %q has been deleted and made again; retry", t.Name)
	}
	if err != nil {
		return nil, err
	}
	at, err := s.place(number)
	if err != nil {
		return nil, err
	}
	return &destination{topic: t.Name, number: number, at: at, phases: d.phases}, nil
}
