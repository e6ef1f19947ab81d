//go:build race

package sdk_test

import (
	"testing"

	"github.com/wasmill/wasmill/sdk/conformance"
)

func TestGoProjectBuildsOffline(t *testing.T) { conformance.Unraced(t, "^TestGoProjectBuildsOffline$") }
