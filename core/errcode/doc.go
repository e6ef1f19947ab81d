// Package errcode is the one table of the errors that Wasmill answers: code, name,
// whether a retry can help, HTTP status. Servers translate an Error into their protocol; the SDKs'
// constants and docs/errors.md are made from Table.
//
// Packages keep sentinels of their own for their callers; an Error is made where a failure is first
// known to be the client's to hear, with a detail that says what happened, to what, and what to do
// next.
package errcode
