package cli

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far a long command is, on standard error: a bar where there is a terminal,
// a line now and then with --progress elsewhere. Adding is safe for concurrent use.
type progress struct {
	w       io.Writer
	bar     *progressbar.ProgressBar // nil: lines
	records atomic.Int64
	bytes   atomic.Int64
	began   time.Time
	stop    chan struct{}
	done    chan struct{}
}

// startProgress begins to show unless there is no terminal; a nil *progress shows nothing. total is in
// bytes, -1 when it is not known.
func (a *app) startProgress(force bool, total int64) *progress {
	terminal := isTerminal(a.Err)
	if a.json && !force || !terminal && !force {
		return nil
	}
	p := &progress{w: a.Err, began: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	every := 2 * time.Second
	if terminal {
		every = 100 * time.Millisecond
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(a.Err),
			progressbar.OptionShowBytes(true),
			progressbar.OptionSetWidth(24),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionEnableColorCodes(a.colored(a.Err)),
		)
	}
	go p.run(every)
	return p
}

func (p *progress) add(records, bytes int64) {
	if p != nil {
		p.records.Add(records)
		p.bytes.Add(bytes)
	}
}

// finish takes the display away and waits for it to be gone. It may be called again.
func (p *progress) finish() {
	if p == nil {
		return
	}
	select {
	case <-p.done:
		return
	default:
	}
	close(p.stop)
	<-p.done
}

func (p *progress) run(every time.Duration) {
	defer close(p.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.show()
		case <-p.stop:
			if p.bar != nil {
				_ = p.bar.Finish() // display only
			}
			return
		}
	}
}

func (p *progress) show() {
	took := time.Since(p.began)
	records, bytes := p.records.Load(), p.bytes.Load()
	text := fmt.Sprintf("%s records, %s records/s", count(records), count(rate(records, took)))
	if p.bar == nil {
		fmt.Fprintf(p.w, "%s, %s, %s/s\n", text, size(bytes), size(rate(bytes, took)))
		return
	}
	p.bar.Describe(text)
	_ = p.bar.Set64(bytes) // display only
}
