package transform

import (
	"github.com/wasmill/wasmill/core/record"
)

// Output is what one partition of another topic gets.
type Output struct {
	Topic Topic
	Part
}

// Outputs sorts the records that leave a pipeline for other topics. A topic is looked up at its first
// record, and that state of it is used for all of them. Not for concurrent use.
type Outputs struct {
	topics  Topics
	options func(Topic) PartitionerOptions
	sorted  []*Partitioner // in the order of their first records
}

// NewOutputs makes an empty collection. options says how a topic's records are collected; nil for the zero
// options.
func NewOutputs(topics Topics, options func(Topic) PartitionerOptions) *Outputs {
	return &Outputs{topics: topics, options: options}
}

// Topic is the state of a topic that is used for all records. It is looked up at the first call for that name,
// of Topic or Add.
func (o *Outputs) Topic(name string) (Topic, error) {
	p, err := o.partitioner(name)
	if err != nil {
		return Topic{}, err
	}
	return p.topic, nil
}

// Add puts a record, number index of the request or the source, into its destination's batch. The record is
// copied.
func (o *Outputs) Add(topicName string, number int32, r record.Record, index int) error {
	p, err := o.partitioner(topicName)
	if err != nil {
		return err
	}
	return p.Add(r, number, index)
}

func (o *Outputs) partitioner(name string) (*Partitioner, error) {
	for _, p := range o.sorted { // there are few
		if p.topic.Name == name {
			return p, nil
		}
	}
	t, err := o.topics.Topic(name)
	if err != nil {
		return nil, err
	}
	var options PartitionerOptions
	if o.options != nil {
		options = o.options(t)
	}
	p := NewPartitioner(t, options)
	o.sorted = append(o.sorted, p)
	return p, nil
}

// Finish returns what is to be written, by topics in the order of their first records, and then by
// partition. Nothing can be added afterwards.
func (o *Outputs) Finish() ([]Output, error) {
	var outputs []Output
	for _, p := range o.sorted {
		parts, err := p.Finish()
		if err != nil {
			return nil, err
		}
		for _, part := range parts {
			outputs = append(outputs, Output{Topic: p.topic, Part: part})
		}
	}
	return outputs, nil
}
