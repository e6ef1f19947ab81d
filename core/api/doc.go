// Package api holds the shapes of Wasmill's HTTP API: the structs that a broker writes as JSON and a
// client reads, and the other way round. The broker, the HTTP server, the Go client and the command
// line share them, so that none of them repeats a field's name. It has no logic; what is stored on disk
// has structs of its own (core/metadata), so that the API and the disk format change independently.
//
// Shapes are shared between readers: whoever gets one from a broker must not change what its slices and
// maps hold.
package api
