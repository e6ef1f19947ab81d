//go:build unix

package harness

import (
	"regexp"
	"strings"
	"sync"
)

// output keeps what a process writes and wakes those who wait for a line.
type output struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed at the next write; nil when nobody waits
}

// Write never fails: the process must not block on its log.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// find looks for a match among the whole lines so far; without one it returns a channel that is
// closed when there is more to look at.
func (o *output) find(re *regexp.Regexp) ([]string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	whole := string(o.text)
	whole = whole[:strings.LastIndexByte(whole, '\n')+1]
	if m := re.FindStringSubmatch(whole); m != nil {
		return m, nil
	}
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return nil, o.changed
}

// tail is the last n lines.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// crashMarks are what a Go process writes when something is wrong with the process itself.
var crashMarks = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: |unexpected fault address|\[signal SIG|runtime: ).*$`)

// faults are the lines of a log that no broker may ever write, whatever it is sent.
func faults(log string) []string { return crashMarks.FindAllString(log, -1) }
