// Package apitest helps to test users of a broker's HTTP API: Fake is a broker in memory, and
// Conform is the kit of cases that it and the real broker must pass alike.
package apitest
