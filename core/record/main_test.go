package record

import (
	"testing"

	"go.uber.org/goleak"
)

// The package starts no goroutines, nor may the compressors that it shares.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
