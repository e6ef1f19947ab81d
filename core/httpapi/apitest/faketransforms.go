package apitest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"

	"slices"
	"strconv"
	"strings"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
)

// SetPipeline makes stages a topic's write pipeline.
func (m *Fake) SetPipeline(_ context.Context, topic string, spec api.PipelineSpec, expected *uint64) (*api.Pipeline, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.writable(topic); err != nil {
		return nil, false, err
	}
	stages, err := m.resolve(spec.Stages, api.OnErrorReject, api.OnErrorSkip, api.OnErrorDrop, api.OnErrorDeadLetter)
	if err != nil {
		return nil, false, err
	}
	return m.pipelines.put(topic, expected, meaning(stages), func(version uint64) *api.Pipeline {
		return &api.Pipeline{Topic: topic, Version: version, Stages: stages, UpdatedAt: Time}
	})
}

// resolve fills in what stages leave out; the first of the policies is the default.
func (m *Fake) resolve(stages []api.Stage, policies ...api.OnError) ([]api.Stage, error) {
	if len(stages) == 0 {
		return nil, errcode.New(errcode.InvalidPipeline, "a pipeline needs a stage")
	}
	stages = slices.Clone(stages)
	for i := range stages {
		s := &stages[i]
		name, version, _ := strings.Cut(s.Module, "@")
		if version != "" {
			s.Version, _ = strconv.Atoi(version)
		}
		v, err := m.module(name, s.Version)
		if err != nil {
			return nil, err
		}
		s.Module, s.Version = name, v.Version
		s.OnError = cmp.Or(s.OnError, policies[0])
		if !slices.Contains(policies, s.OnError) {
			return nil, errcode.New(errcode.InvalidPipeline, "on_error is %s, not one of %s", s.OnError, policies)
		}
		if (s.OnError == api.OnErrorDeadLetter) != (s.DeadLetterTopic != "") {
			return nil, errcode.New(errcode.InvalidPipeline, "dead_letter and dead_letter_topic go together")
		}
		if s.DeadLetterTopic != "" {
			if _, err := m.writable(s.DeadLetterTopic); err != nil {
				return nil, err
			}
		}
		if len(s.Config) > 0 {
			var compact bytes.Buffer
			if err := json.Compact(&compact, s.Config); err != nil {
				return nil, errcode.New(errcode.InvalidPipeline, "config: %w", err)
			}
			s.Config = compact.Bytes()
		}
	}
	return stages, nil
}

// meaning is what makes two versions differ.
func meaning(v ...any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// users lists what names a stage, or a topic, that the functions accept.
func (m *Fake) users(stage func(api.Stage) bool, topics func(names ...string) bool) (users []string) {
	for _, p := range m.pipelines.all() {
		if slices.ContainsFunc(p.Stages, stage) {
			users = append(users, "the pipeline of "+p.Topic)
		}
	}
	for _, v := range m.views.all() {
		if slices.ContainsFunc(v.Stages, stage) || topics(v.Topic) {
			users = append(users, "view "+v.Name)
		}
	}
	for _, d := range m.derivations.all() {
		if slices.ContainsFunc(d.Stages, stage) || topics(d.Topic, d.Output) {
			users = append(users, "derivation "+d.Name)
		}
	}
	return users
}

func (m *Fake) topicUsers(name string) []string {
	return m.users(func(s api.Stage) bool { return s.DeadLetterTopic == name },
		func(names ...string) bool { return slices.Contains(names, name) })
}

func (m *Fake) moduleUsers(name string, version int) []string {
	return m.users(func(s api.Stage) bool { return s.Module == name && (version == 0 || s.Version == version) },
		func(...string) bool { return false })
}

// Pipeline returns a topic's write pipeline.
func (m *Fake) Pipeline(_ context.Context, topic string) (*api.Pipeline, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.writable(topic); err != nil {
		return nil, err
	}
	if p := m.pipelines.get(topic); p != nil {
		return p, nil
	}
	return nil, errcode.New(errcode.NotFound, "topic %s has no write pipeline", topic)
}

// DeletePipeline takes a topic's write pipeline away.
func (m *Fake) DeletePipeline(_ context.Context, topic string, expected *uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.writable(topic); err != nil {
		return err
	}
	return m.pipelines.remove(topic, expected, errcode.NotFound)
}

// PutView makes or replaces a view.
func (m *Fake) PutView(_ context.Context, name string, spec api.ViewSpec, expected *uint64) (*api.View, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.writable(spec.Topic); err != nil {
		return nil, false, err
	}
	stages, err := m.resolve(spec.Stages, api.OnErrorDrop, api.OnErrorSkip)
	if err != nil {
		return nil, false, err
	}
	if m.topics[name] != nil {
		return nil, false, errcode.New(errcode.TopicAlreadyExists, "there is a topic %s", name)
	}
	return m.views.put(name, expected, meaning(spec.Topic, stages), func(version uint64) *api.View {
		return &api.View{Name: name, Topic: spec.Topic, Version: version, Stages: stages, UpdatedAt: Time}
	})
}

// Views lists the views by name.
func (m *Fake) Views(context.Context) ([]api.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.views.all(), nil
}

// View describes a view.
func (m *Fake) View(_ context.Context, name string) (*api.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.view(name); v != nil {
		return v, nil
	}
	return nil, errcode.New(errcode.UnknownView, "there is no view %s", name)
}

// DeleteView deletes a view.
func (m *Fake) DeleteView(_ context.Context, name string, expected *uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.views.remove(name, expected, errcode.UnknownView)
}

// PutDerivation makes a derivation or changes its stages. It derives nothing.
func (m *Fake) PutDerivation(_ context.Context, name string, spec api.DerivationSpec, expected *uint64) (*api.Derivation, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, topic := range []string{spec.Topic, spec.Output} {
		if _, err := m.writable(topic); err != nil {
			return nil, false, err
		}
	}
	stages, err := m.resolve(spec.Stages, api.OnErrorDrop, api.OnErrorSkip, api.OnErrorDeadLetter)
	if err != nil {
		return nil, false, err
	}
	start, id := cmp.Or(spec.StartFrom, api.StartEarliest), uint64(len(m.derivations.counts)+1)
	if old := m.derivations.get(name); old != nil {
		start, id = cmp.Or(spec.StartFrom, old.StartFrom), old.ID
		if old.Topic != spec.Topic || old.Output != spec.Output || old.StartFrom != start {
			return nil, false, errcode.New(errcode.AlreadyExists, "derivation %s goes from %s to %s", name, old.Topic, old.Output)
		}
	}
	return m.derivations.put(name, expected, meaning(stages), func(version uint64) *api.Derivation {
		return &api.Derivation{
			ID: id, Name: name, Topic: spec.Topic, Output: spec.Output, StartFrom: start, Version: version,
			Stages: stages, UpdatedAt: Time, Progress: make([]api.DerivationProgress, len(m.topics[spec.Topic].parts)),
		}
	})
}

// Derivations lists the derivations by name.
func (m *Fake) Derivations(context.Context) ([]api.Derivation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.derivations.all(), nil
}

// Derivation describes a derivation.
func (m *Fake) Derivation(_ context.Context, name string) (*api.Derivation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.derivations.get(name); d != nil {
		return d, nil
	}
	return nil, errcode.New(errcode.UnknownDerivation, "there is no derivation %s", name)
}

// DeleteDerivation forgets a derivation.
func (m *Fake) DeleteDerivation(_ context.Context, name string, expected *uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.derivations.remove(name, expected, errcode.UnknownDerivation)
}
