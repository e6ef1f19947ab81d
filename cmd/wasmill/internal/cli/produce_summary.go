package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

const (
	keptRejects  = 100 // rejections that the summary lists in full
	shownRejects = 10  // and shows to people
)

// summary counts what became of the records; its JSON is the stable shape of produce --json.
type summary struct {
	Topic     string           `json:"topic"`
	Records   int64            `json:"records"`
	Bytes     int64            `json:"bytes"`
	Kept      int64            `json:"kept"`
	Dropped   int64            `json:"dropped"`
	Rejected  int64            `json:"rejected"`
	Routed    int64            `json:"routed"`
	Failed    int64            `json:"failed"`
	RoutedTo  map[string]int64 `json:"routed_to,omitempty"`
	Rejects   []reject         `json:"rejects,omitempty"` // the first of them
	Retries   int64            `json:"retries"`
	ElapsedMS float64          `json:"elapsed_ms"`

	began time.Time
	mu    sync.Mutex // over RoutedTo, Rejects and failed: reports come from several goroutines
	err   error      // the first failure

	broken atomic.Bool // there was a failure
}

// reject is one record that a transform refused. Place counts the input's lines or records from 1.
type reject struct {
	Place   int    `json:"place"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Module  string `json:"module,omitempty"`
}

func newSummary(topic string) *summary {
	return &summary{Topic: topic, RoutedTo: map[string]int64{}, began: time.Now()}
}

// reporter takes down the fate of the record at place.
func (s *summary) reporter(place int) func(client.Report) {
	return func(r client.Report) {
		if r.Outcome == client.Kept || r.Outcome == client.Dropped {
			return // the producer's totals have them
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		switch r.Outcome {
		case client.Rejected:
			s.rejectLocked(place, r.Rejected)
		case client.Routed:
			s.routeLocked(r.Routed)
		case client.Failed:
			s.broken.Store(true)
			if s.err == nil {
				s.err = r.Err
			}
		}
	}
}

func (s *summary) rejectLocked(place int, r client.RejectedRecord) {
	if len(s.Rejects) < keptRejects {
		s.Rejects = append(s.Rejects, reject{Place: place, Code: r.Code, Message: r.Message, Module: r.Module})
	}
}

func (s *summary) routeLocked(routed []client.RoutedRecord) {
	for _, to := range routed {
		s.RoutedTo[to.Topic]++
	}
}

// take copies a producer's totals.
func (s *summary) take(t client.Totals) {
	s.Records, s.Bytes, s.Retries = t.Records, t.Bytes, t.Retries
	s.Kept, s.Dropped, s.Rejected, s.Routed, s.Failed = t.Kept, t.Dropped, t.Rejected, t.Routed, t.Failed
}

// takeResult adds a request's answer; its records begin at place first, from 0.
func (s *summary) takeResult(res *client.ProduceResult, records int, first int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Kept += int64(res.Count())
	s.Dropped += int64(len(res.Dropped))
	s.Rejected += int64(len(res.Rejected))
	s.Routed += int64(len(res.Routed))
	for _, r := range res.Rejected {
		s.rejectLocked(int(first)+r.Index+1, r)
	}
	s.routeLocked(res.Routed)
	if err := res.Err(); err != nil {
		s.Failed += int64(records - res.Count() - len(res.Dropped) - len(res.Rejected))
		if s.err == nil {
			s.err = err
		}
	}
}

// failure is the error of records that were not delivered.
func (s *summary) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Failed == 0 {
		return nil
	}
	return fmt.Errorf("%s not delivered: %w", plural(s.Failed, "record"), s.err)
}

// verdict is the error that rejected records make of the command.
func (s *summary) verdict(allowRejects bool) error {
	if s.Rejected == 0 || allowRejects {
		return nil
	}
	return hinted{
		error: fmt.Errorf("%w: %s of %s", ErrRejected, count(s.Rejected), count(s.Records)),
		hint:  "The others are written. Mend the records, or look at the pipeline with 'wasmill pipeline get " + s.Topic + "'; --allow-rejects makes this no failure.",
	}
}

// report writes the summary.
func (a *app) report(s *summary) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := time.Since(s.began)
	s.ElapsedMS = float64(took.Microseconds()) / 1000
	slices.SortFunc(s.Rejects, func(x, y reject) int { return x.Place - y.Place })
	for i, r := range s.Rejects {
		if a.json {
			break
		}
		if i == shownRejects {
			a.say("  ... and %s more", count(s.Rejected-shownRejects))
			break
		}
		a.say("  rejected %d: %s (code %d, %s)", r.Place, r.Message, r.Code, orDash(r.Module))
	}
	return a.output(s, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s, %s to %s in %s (%s records/s): %s\n", plural(s.Records, "record"), size(s.Bytes), s.Topic,
			took.Round(time.Millisecond), count(rate(s.Records, took)), s.fates())
		return err
	})
}

func (s *summary) fates() string {
	parts := []string{count(s.Kept) + " kept"}
	for _, p := range []struct {
		n    int64
		what string
	}{{s.Dropped, "dropped"}, {s.Rejected, "rejected"}, {s.Failed, "failed"}} {
		if p.n > 0 {
			parts = append(parts, count(p.n)+" "+p.what)
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(s.RoutedTo)) {
		parts = append(parts, fmt.Sprintf("%s routed to %s", count(s.RoutedTo[topic]), topic))
	}
	return strings.Join(parts, ", ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
