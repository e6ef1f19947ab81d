//go:build race

package plugins_test

import (
	"testing"

	"github.com/wasmill/wasmill/sdk/conformance"
)

func TestGuests(t *testing.T) { conformance.Unraced(t, "^TestGuests") }
