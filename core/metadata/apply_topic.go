package metadata

import (
	"maps"
	"slices"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

const (
	// MaxPartitions bounds the partitions of one topic.
	MaxPartitions = 10_000
	// MaxReplication is 1 as long as a cluster has one broker.
	MaxReplication = 1
)

func (c CreateTopic) apply(next *Image, at time.Time) (Result, error) {
	if err := next.checkNewName("topic", c.Name); err != nil {
		return Result{}, err
	}
	partitions, replication := max1(c.Partitions), max1(c.Replication)
	if err := checkPartitions(c.Name, partitions); err != nil {
		return Result{}, err
	}
	if replication < 1 || replication > MaxReplication {
		return Result{}, errcode.New(errcode.InvalidReplicationFactor,
			"topic %s: a replication factor of %d cannot be had, the cluster has %d broker", c.Name, replication, MaxReplication)
	}
	if _, err := ParseTopicConfig(c.Config); err != nil {
		return Result{}, err
	}
	t := &Topic{
		ID:          next.nextTopic,
		Name:        c.Name,
		Partitions:  partitions,
		Replication: replication,
		Config:      cloneConfig(c.Config),
		CreatedAt:   at,
	}
	next.nextTopic++
	next.putTopic(t)
	return Result{Changed: true, Created: true, Topic: t}, nil
}

func (c AlterTopic) apply(next *Image, _ time.Time) (Result, error) {
	old, err := next.mustTopic(c.Name)
	if err != nil {
		return Result{}, err
	}
	t := *old
	if c.Partitions != 0 {
		if err := checkPartitions(c.Name, c.Partitions); err != nil {
			return Result{}, err
		}
		if c.Partitions < old.Partitions {
			return Result{}, errcode.New(errcode.InvalidPartitions, "topic %s has %d partitions and cannot go down to %d: make a new topic",
				c.Name, old.Partitions, c.Partitions).With("partitions", old.Partitions)
		}
		t.Partitions = c.Partitions
	}
	t.Config = cloneConfig(old.Config)
	for key, value := range c.Config { // the order does not matter: every key is set or deleted once
		if value == nil {
			delete(t.Config, key)
		} else {
			t.Config[key] = *value
		}
	}
	if _, err := ParseTopicConfig(t.Config); err != nil {
		return Result{}, err
	}
	if t.Partitions == old.Partitions && maps.Equal(t.Config, old.Config) {
		return Result{Topic: old}, nil
	}
	next.putTopic(&t)
	return Result{Changed: true, Topic: &t}, nil
}

func (c DeleteTopic) apply(next *Image, _ time.Time) (Result, error) {
	t, err := next.mustTopic(c.Name)
	if err != nil {
		return Result{}, err
	}
	if users := next.topicUsers(c.Name); len(users) > 0 {
		return Result{}, errcode.New(errcode.TopicInUse, "topic %s is used by %s: delete or change those first", c.Name, listed(users)).
			With("used_by", users)
	}
	next.topics = without(next.topics, c.Name)
	next.topicsByID = without(next.topicsByID, t.ID)
	if next.pipelines[c.Name] != nil {
		next.pipelines = without(next.pipelines, c.Name)
	}
	return Result{Changed: true, Topic: t}, nil
}

func (i *Image) putTopic(t *Topic) {
	i.topics = with(i.topics, t.Name, t)
	i.topicsByID = with(i.topicsByID, t.ID, t)
}

// mustTopic is the topic, or VIEW_READ_ONLY or UNKNOWN_TOPIC_OR_PARTITION.
func (i *Image) mustTopic(name string) (*Topic, error) {
	if t := i.topics[name]; t != nil {
		return t, nil
	}
	if v := i.views[name]; v != nil {
		return nil, errcode.New(errcode.ViewReadOnly, "%s is a view of topic %s: name the topic", name, v.Topic)
	}
	return nil, errcode.New(errcode.UnknownTopicOrPartition, "there is no topic %q: create it first", clip(name))
}

// checkNewName refuses a topic or view name that is illegal or taken. Topics and views share one name
// space.
func (i *Image) checkNewName(what, name string) error {
	if err := CheckName(errcode.InvalidTopic, what, name); err != nil {
		return err
	}
	if i.topics[name] != nil {
		return errcode.New(errcode.TopicAlreadyExists, "there is a topic %s already", name)
	}
	if i.views[name] != nil {
		return errcode.New(errcode.TopicAlreadyExists, "there is a view %s already; topics and views share their names", name)
	}
	key := collisionKey(name)
	for _, taken := range i.namesLike(key) {
		return errcode.New(errcode.InvalidTopic, "%s name %s collides with %s: '.' and '_' count as the same character", what, name, taken)
	}
	return nil
}

// namesLike lists the topics and views with this collision key, sorted.
func (i *Image) namesLike(key string) []string {
	var names []string
	for name := range i.topics {
		if collisionKey(name) == key {
			names = append(names, name)
		}
	}
	for name := range i.views {
		if collisionKey(name) == key {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func checkPartitions(topic string, n int32) error {
	if n < 1 || n > MaxPartitions {
		return errcode.New(errcode.InvalidPartitions, "topic %s: the number of partitions must be from 1 to %d, not %d", topic, MaxPartitions, n)
	}
	return nil
}

// max1 replaces 0 by the default of 1.
func max1[N int16 | int32](n N) N {
	if n == 0 {
		return 1
	}
	return n
}

func cloneConfig(config map[string]string) map[string]string {
	if config == nil {
		return map[string]string{}
	}
	return maps.Clone(config)
}
