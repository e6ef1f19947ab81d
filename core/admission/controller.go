// Package admission bounds the memory that requests hold while they are worked on. One total is divided
// among four budgets, so that none of them can take what another one needs: uploads do not keep readers
// from their answers, and slow readers do not keep records from being written. What does not fit is
// refused with OVERLOADED and the time after which another attempt is worth while; this package is the
// only place where that is decided.
//
// A request takes from the budgets in the order in which a Controller lists them, and of each only once
// at a time. Nobody who holds a part of a later budget waits for an earlier one, so no two requests can
// wait for each other.
package admission

import (
	"fmt"
	"time"
)

// DefaultTotal is the total of a broker without configuration, in bytes.
const DefaultTotal = 512 << 20

// MinTotal is the least total that can be divided, in bytes.
const MinTotal = 64 << 10

// queueWait is how long a request waits for its turn before it is refused. It is longer than a group
// commit takes on a slow disk, and shorter than clients wait for an answer.
const queueWait = 5 * time.Second

// patient is the wait of those whose turn is sure to come: whoever is before them is at work and waits for
// no client, at most for an append, whose wait is bounded.
const patient time.Duration = -1

// Times after which a refused request is worth another attempt. Bodies leave the broker within one group
// commit; the others at the pace of a reader or of the disk.
const (
	retryBodies = 250 * time.Millisecond
	retryOthers = time.Second
)

// Controller is the budgets of one broker.
type Controller struct {
	total int64

	// Answers bounds fetched records until they are written to their readers, in whatever form. A fetch
	// waits for its turn.
	Answers *Budget
	// Bodies bounds the bodies of requests from their arrival until the answer. It never waits: a client
	// that is refused at once costs nothing.
	Bodies *Budget
	// Unpack bounds what batches are decompressed and decoded to. Batches wait for their turn, however long.
	Unpack *Budget
	// Appends bounds the entries that Raft has not yet answered for, of all partitions together. Most of
	// these bytes are a request's body and counted there too; those that pipelines and derivations make
	// are not. Requests wait for their turn.
	Appends *Budget
}

// Shares says how many bytes of a total each budget gets.
type Shares struct {
	Answers, Bodies, Unpack, Appends int64
}

// Divide divides a total: half for bodies, a quarter for answers, an eighth each for unpacking and
// appends.
func Divide(total int64) Shares {
	return Shares{Bodies: total / 2, Answers: total / 4, Unpack: total / 8, Appends: total / 8}
}

// New divides total bytes, at least MinTotal.
func New(total int64) (*Controller, error) {
	if total < MinTotal {
		return nil, fmt.Errorf("admission: %d bytes for all requests together are too few; give at least %d", total, MinTotal)
	}
	s := Divide(total)
	return &Controller{
		total: total,
		Answers: newBudget(rule{
			name: "answers", limit: s.Answers, total: total, wait: queueWait, retry: retryOthers,
			full: "fetched answers that wait for their readers", advice: "ask for fewer bytes, or fetch again",
		}),
		Bodies: newBudget(rule{
			name: "bodies", limit: s.Bodies, total: total, retry: retryBodies,
			full: "request bodies in flight", advice: "send this one again",
		}),
		Unpack: newBudget(rule{
			name: "unpack", limit: s.Unpack, total: total, wait: patient, retry: retryOthers,
			full: "batches that are being decompressed", advice: "slow down and try again",
		}),
		Appends: newBudget(rule{
			name: "appends", limit: s.Appends, total: total, wait: queueWait, retry: retryOthers,
			full: "records that wait for the disk", advice: "slow down and try again",
		}),
	}, nil
}

// Default divides DefaultTotal.
func Default() *Controller {
	c, err := New(DefaultTotal)
	if err != nil {
		panic(err) // the default can be divided
	}
	return c
}

// Usage is one budget's state.
type Usage struct {
	Budget       string // its name: answers, bodies, unpack or appends
	InUse, Limit int64  // bytes
}

// Usage is the state of every budget, in the order in which requests take from them.
func (c *Controller) Usage() []Usage {
	var all []Usage
	for _, b := range []*Budget{c.Answers, c.Bodies, c.Unpack, c.Appends} {
		all = append(all, Usage{Budget: b.rule.name, InUse: b.InUse(), Limit: b.Limit()})
	}
	return all
}
