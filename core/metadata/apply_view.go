package metadata

import (
	"slices"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/wasm/abi"
)

func (c PutView) apply(next *Image, at time.Time) (Result, error) {
	old := next.views[c.Name]
	if err := expectVersion("view "+c.Name, c.Expected, viewVersion(old)); err != nil {
		return Result{}, err
	}
	if old == nil {
		if err := next.checkNewName("view", c.Name); err != nil {
			return Result{}, err
		}
	}
	if _, err := next.mustTopic(c.Topic); err != nil {
		return Result{}, err
	}
	stages, err := next.ResolveStages(abi.PlaceView, c.Topic, c.Stages)
	if err != nil {
		return Result{}, err
	}
	if old != nil && old.Topic == c.Topic && sameStages(old.Stages, stages) {
		return Result{View: old}, nil
	}
	v := &View{Name: c.Name, Topic: c.Topic, Version: next.count(countView, c.Name), Stages: stages, UpdatedAt: at}
	next.views = with(next.views, c.Name, v)
	return Result{Changed: true, Created: old == nil, View: v}, nil
}

func (c DeleteView) apply(next *Image, _ time.Time) (Result, error) {
	v := next.views[c.Name]
	if err := expectVersion("view "+c.Name, c.Expected, viewVersion(v)); err != nil {
		return Result{}, err
	}
	if v == nil {
		return Result{}, errcode.New(errcode.UnknownView, "there is no view %q", clip(c.Name))
	}
	next.views = without(next.views, c.Name)
	return Result{Changed: true, View: v}, nil
}

// viewVersion is 0 when there is no view.
func viewVersion(v *View) uint64 {
	if v == nil {
		return 0
	}
	return v.Version
}

// Where a new derivation begins.
const (
	StartEarliest = "earliest"
	StartLatest   = "latest"
)

func (c PutDerivation) apply(next *Image, at time.Time) (Result, error) {
	if err := CheckName(errcode.InvalidRequest, "derivation", c.Name); err != nil {
		return Result{}, err
	}
	for _, topic := range []string{c.Topic, c.Output} {
		if _, err := next.mustTopic(topic); err != nil {
			return Result{}, err
		}
	}
	old := next.derivations[c.Name]
	if err := expectVersion("derivation "+c.Name, c.Expected, derivationVersion(old)); err != nil {
		return Result{}, err
	}
	start, err := c.startFrom(old)
	if err != nil {
		return Result{}, err
	}
	stages, err := next.ResolveStages(abi.PlaceDerivation, c.Topic, c.Stages)
	if err != nil {
		return Result{}, err
	}
	d := &Derivation{Name: c.Name, Topic: c.Topic, Output: c.Output, StartFrom: start, Stages: stages, UpdatedAt: at}
	if err := next.checkLoop(d); err != nil {
		return Result{}, err
	}
	if old != nil {
		if sameStages(old.Stages, stages) {
			return Result{Derivation: old}, nil
		}
		d.ID = old.ID
	} else {
		d.ID = next.nextDerived
		next.nextDerived++
	}
	d.Version = next.count(countDerivation, c.Name)
	next.derivations = with(next.derivations, c.Name, d)
	return Result{Changed: true, Created: old == nil, Derivation: d}, nil
}

// startFrom checks where the derivation begins, and that a replaced one stays where it is.
func (c PutDerivation) startFrom(old *Derivation) (string, error) {
	start := c.StartFrom
	switch {
	case start == "" && old != nil:
		start = old.StartFrom
	case start == "":
		start = StartEarliest
	case start != StartEarliest && start != StartLatest:
		return "", errcode.New(errcode.InvalidRequest, "derivation %s: start_from must be earliest or latest, not %q", c.Name, clip(start))
	}
	if old != nil && (old.Topic != c.Topic || old.Output != c.Output || old.StartFrom != start) {
		return "", errcode.New(errcode.AlreadyExists,
			"derivation %s goes from %s (%s) to %s and its progress is counted there: delete it and make a new one",
			c.Name, old.Topic, old.StartFrom, old.Output)
	}
	return start, nil
}

// checkLoop refuses a derivation whose output would return to its source through other derivations:
// its records would be derived again without end.
func (i *Image) checkLoop(d *Derivation) error {
	reached := []string{d.Topic}
	all := append(i.Derivations(), d)
	for n := 0; n < len(reached); n++ {
		for _, other := range all {
			if other.Topic != reached[n] || other.Name == d.Name && other != d {
				continue
			}
			for _, to := range destinations(other) {
				if to == d.Topic {
					return errcode.New(errcode.InvalidPipeline, "derivation %s would feed itself: its records come back to %s by way of derivation %s",
						d.Name, d.Topic, other.Name)
				}
				if !slices.Contains(reached, to) {
					reached = append(reached, to)
				}
			}
		}
	}
	return nil
}

// destinations are the topics that a derivation is known to write to.
func destinations(d *Derivation) []string {
	to := []string{d.Output}
	for _, s := range d.Stages {
		if s.DeadLetterTopic != "" {
			to = append(to, s.DeadLetterTopic)
		}
	}
	return to
}

func (c DeleteDerivation) apply(next *Image, _ time.Time) (Result, error) {
	d := next.derivations[c.Name]
	if err := expectVersion("derivation "+c.Name, c.Expected, derivationVersion(d)); err != nil {
		return Result{}, err
	}
	if d == nil {
		return Result{}, errcode.New(errcode.UnknownDerivation, "there is no derivation %q", clip(c.Name))
	}
	next.derivations = without(next.derivations, c.Name)
	return Result{Changed: true, Derivation: d}, nil
}

// derivationVersion is 0 when there is no derivation.
func derivationVersion(d *Derivation) uint64 {
	if d == nil {
		return 0
	}
	return d.Version
}
