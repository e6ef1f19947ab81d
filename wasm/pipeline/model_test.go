package pipeline

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// The model does in a few lines of Go, one record at a time, what the pipeline does with modules, batches,
// bisection and instances.
type model struct {
	stages int
	policy abi.OnError
	place  abi.Place
	fault  string // a mistake that the comparison must notice
}

type modelRecord struct {
	value  string
	intact bool
}

func (m model) run(values []string) string {
	var verdicts, own, routed strings.Builder
	for i, v := range values {
		kind, records, routes := m.record(v)
		verdicts.WriteString(kind.String()[:2] + " ")
		for k, r := range records {
			fmt.Fprintf(&own, " %d%s:%s", i, strings.Repeat("+", min(k, 1)), r.value)
		}
		for _, r := range routes {
			fmt.Fprintf(&routed, " %d:%s", i, r)
		}
	}
	return verdicts.String() + "|" + own.String() + " |" + routed.String()
}

func (m model) record(value string) (Kind, []modelRecord, []string) {
	current := []modelRecord{{value, true}}
	var routes []string
	for stage := range m.stages {
		var next []modelRecord
		for _, r := range current {
			left, routed, rejected := m.stage(stage, r)
			if rejected {
				if m.fault == "reject one child" {
					continue
				}
				return Rejected, nil, nil
			}
			next = append(next, left...)
			routes = append(routes, routed...)
		}
		current = next
	}
	switch {
	case len(current) == 1 && current[0].intact:
		return Kept, current, routes
	case len(current) > 0:
		return Changed, current, routes
	case len(routes) > 0:
		return Routed, nil, routes
	}
	return Dropped, nil, nil
}

func (m model) stage(at int, r modelRecord) (left []modelRecord, routes []string, rejected bool) {
	command := byte('k')
	if at < len(r.value) {
		command = r.value[at]
	}
	copied := modelRecord{r.value, false}
	elsewhere := r.value + ">" + wasmtest.CommandTopic
	switch command {
	case 'd':
		return nil, nil, false
	case 'r':
		if m.policy == abi.OnErrorDeadLetter && m.fault != "reject is no dead letter" {
			return nil, []string{r.value + ">dead/-1"}, false
		}
		return nil, nil, m.place == abi.PlaceWrite
	case 'e':
		return []modelRecord{{r.value[:len(r.value)-1], false}}, nil, false
	case 'f':
		return []modelRecord{r, copied, copied}, nil, false
	case 'F':
		return []modelRecord{copied, copied}, nil, false
	case 'x':
		return nil, []string{elsewhere + "/-1"}, false
	case 'c':
		return []modelRecord{r}, []string{elsewhere + "/2"}, false
	case 't', 'b', 'o':
		return m.failed(r)
	}
	return []modelRecord{r}, nil, false
}

func (m model) failed(r modelRecord) (left []modelRecord, routes []string, rejected bool) {
	switch m.policy {
	case abi.OnErrorSkip:
		if m.fault == "skip drops" {
			return nil, nil, false
		}
		return []modelRecord{r}, nil, false
	case abi.OnErrorDrop:
		return nil, nil, false
	case abi.OnErrorDeadLetter:
		return nil, []string{r.value + ">dead/-1"}, false
	}
	return nil, nil, m.place == abi.PlaceWrite
}

// canonical orders what is routed by source, keeping the order within one.
func canonical(r *Result) string {
	bySource := make([][]Emitted, len(r.Verdicts))
	for _, e := range r.Routed {
		bySource[e.Source] = append(bySource[e.Source], e)
	}
	r.Routed = r.Routed[:0]
	for _, list := range bySource {
		r.Routed = append(r.Routed, list...)
	}
	return show(r)
}

const alphabet = "kkkkkdrefFxctbo"

// subjects compiles every kind of pipeline once.
func subjects(t testing.TB) map[model]*Pipeline {
	f := newFixture(t, nil)
	list := map[model]*Pipeline{}
	for stages := 1; stages <= 3; stages++ {
		for _, place := range []abi.Place{abi.PlaceWrite, abi.PlaceView, abi.PlaceDerivation} {
			for _, policy := range []abi.OnError{abi.OnErrorReject, abi.OnErrorSkip, abi.OnErrorDrop, abi.OnErrorDeadLetter} {
				if policy == abi.OnErrorDeadLetter && place == abi.PlaceView || policy == abi.OnErrorReject && place != abi.PlaceWrite {
					continue
				}
				m := model{stages: stages, policy: policy, place: place}
				list[m] = f.compile(t, place, f.commands(stages, policy)...)
			}
		}
	}
	return list
}

// runAfresh runs with breakers that do not open: the model knows no pauses.
func runAfresh(t testing.TB, p *Pipeline, values []string, out *Result) string {
	for _, s := range p.stages {
		s.breaker.success()
		s.breaker.threshold = 1 << 30
	}
	if err := p.Run(t.Context(), input(values...), out); err != nil {
		t.Fatal(err)
	}
	return canonical(out)
}

func TestModel(t *testing.T) {
	pipelines := subjects(t)
	var models []model
	for stages := 1; stages <= 3; stages++ { // in a fixed order, so that a seed means the same every time
		for _, place := range []abi.Place{abi.PlaceWrite, abi.PlaceView, abi.PlaceDerivation} {
			for _, policy := range []abi.OnError{abi.OnErrorReject, abi.OnErrorSkip, abi.OnErrorDrop, abi.OnErrorDeadLetter} {
				m := model{stages: stages, policy: policy, place: place}
				if pipelines[m] != nil {
					models = append(models, m)
				}
			}
		}
	}
	out := &Result{} // one for all, as the broker uses it
	rapid.Check(t, func(rt *rapid.T) {
		m := rapid.SampledFrom(models).Draw(rt, "pipeline")
		values := rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom([]rune(alphabet)), 1, 4, -1), 1, 8).Draw(rt, "values")
		got, want := runAfresh(t, pipelines[m], values, out), m.run(values)
		if got != want {
			rt.Fatalf("%+v %q:\n got %s\nwant %s", m, values, got, want)
		}
	})
}

// The comparison notices each mistake that a pipeline could make.
func TestModelNoticesMistakes(t *testing.T) {
	pipelines := subjects(t)
	for _, c := range []struct {
		fault string
		model model
	}{
		{"reject one child", model{stages: 2, policy: abi.OnErrorReject, place: abi.PlaceWrite}},
		{"reject is no dead letter", model{stages: 1, policy: abi.OnErrorDeadLetter, place: abi.PlaceWrite}},
		{"skip drops", model{stages: 1, policy: abi.OnErrorSkip, place: abi.PlaceWrite}},
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		p, m := pipelines[c.model], c.model
		m.fault = c.fault
		noticed := false
		for n := 0; n < 200 && !noticed; n++ {
			values := make([]string, 6)
			for i := range values {
				values[i] = string([]byte{alphabet[rng.IntN(len(alphabet))], alphabet[rng.IntN(len(alphabet))]})
			}
			noticed = runAfresh(t, p, values, &Result{}) != m.run(values)
		}
		if !noticed {
			t.Errorf("200 batches did not tell %q from the truth", c.fault)
		}
	}
}
