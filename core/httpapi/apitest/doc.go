// Package apitest helps to test what stands on a broker's HTTP API: Fake is a broker in memory, and
// Conform is the kit of cases that it and the real broker must pass alike.
package apitest
