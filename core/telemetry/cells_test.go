package telemetry

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
)

// boundFault counts under more labels than allowed and returns what is wrong with the outcome.
func boundFault(c *cells[string, atomic.Int64], allowed int, count func(label string)) string {
	const labels, rounds = 50, 3
	for range rounds {
		for i := range labels {
			count(fmt.Sprint(i))
		}
	}
	all := slices.Collect(c.each())
	if len(all) > allowed+1 {
		return fmt.Sprintf("%d labels have a cell of their own, %d are allowed", len(all)-1, allowed)
	}
	sum := int64(0)
	for _, cell := range all {
		sum += cell.Load()
	}
	if sum != labels*rounds {
		return fmt.Sprintf("%d were counted, %d is right", sum, labels*rounds)
	}
	return ""
}

func counters(most int) *cells[string, atomic.Int64] {
	return newCells(most, other, func(string) *atomic.Int64 { return new(atomic.Int64) })
}

func TestCellsAreBounded(t *testing.T) {
	for _, most := range []int{1, 10, 49, 50} {
		c := counters(most)
		if fault := boundFault(c, most, func(label string) { c.of(label).Add(1) }); fault != "" {
			t.Errorf("at most %d: %s", most, fault)
		}
	}
}

func TestBadCellsAreFound(t *testing.T) {
	endless := counters(math.MaxInt)
	if boundFault(endless, 10, func(label string) { endless.of(label).Add(1) }) == "" {
		t.Error("cells without a bound pass")
	}
	lossy := counters(10)
	if boundFault(lossy, 10, func(label string) {
		if c := lossy.of(label); c != lossy.rest {
			c.Add(1)
		}
	}) == "" {
		t.Error("cells that lose what is beyond the bound pass")
	}
}

func TestForgottenCellsStartAnew(t *testing.T) {
	c := counters(2)
	c.of("a").Add(5)
	c.of("b").Add(1)
	c.of("c").Add(7) // beyond the bound
	c.forget(func(key string, _ *atomic.Int64) bool { return key == "a" })
	if c.known("a") != nil {
		t.Error("the cell is still known")
	}
	if got := c.of("c").Load(); got != 0 {
		t.Errorf("a label that finds room begins at %d", got)
	}
	if n := len(slices.Collect(c.each())); n != 3 {
		t.Errorf("%d cells, want two and the rest", n)
	}
}
