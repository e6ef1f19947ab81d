//go:build unix && race

package harness

// Raced reports whether the tests, and so the brokers that they start, run under the race detector:
// slower by some times, and with more memory.
const Raced = true
