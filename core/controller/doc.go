// Package controller runs the metadata state machine as a Raft group: its log in a Bolt file, snapshots,
// proposals, waiting for versions, and producer ids from allocated blocks. Readers take Image, which never
// blocks, and wait for changes with WaitVersion or WaitChange.
package controller
