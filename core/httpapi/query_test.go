package httpapi

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
)

func parseQuery(query string) (fetchQuery, error) {
	var args fasthttp.Args
	args.Parse(query)
	o := Options{}.withDefaults()
	return parseFetchQuery(&args, &o)
}

func TestFetchQuery(t *testing.T) {
	type want struct {
		offset         int64
		at             broker.OffsetAt
		max, min       int
		wait           time.Duration
		follow         bool
		stages, config string
	}
	for query, w := range map[string]want{
		"":                                  {-1, broker.OffsetEarliest, defaultFetchBytes, 1, 0, false, "", ""},
		"offset=17":                         {17, 0, defaultFetchBytes, 1, 0, false, "", ""},
		"offset=latest":                     {-1, broker.OffsetLatest, defaultFetchBytes, 1, 0, false, "", ""},
		"offset=2026-01-02T03:04:05.5Z":     {-1, broker.OffsetAtTime, defaultFetchBytes, 1, 0, false, "", ""},
		"max_bytes=99999999999&min_bytes=0": {-1, 0, defaultMaxFetchBytes, 0, 0, false, "", ""},
		"max_bytes=10&min_bytes=20":         {-1, 0, 10, 10, 0, false, "", ""},
		"wait=5s":                           {-1, 0, defaultFetchBytes, 1, 5 * time.Second, false, "", ""},
		"wait=250":                          {-1, 0, defaultFetchBytes, 1, 250 * time.Millisecond, false, "", ""},
		"wait=9h&follow":                    {-1, 0, defaultFetchBytes, 1, time.Minute, true, "", ""},
		"follow=false":                      {-1, 0, defaultFetchBytes, 1, 0, false, "", ""},
		"module=a%402&module=b":             {-1, 0, defaultFetchBytes, 1, 0, false, "a@2 b", "  "},
		"module=a&module_config={}":         {-1, 0, defaultFetchBytes, 1, 0, false, "a", "{} "},
		"module=a&module=b&module_config=1&module_config=%7B%22x%22:2%7D": {-1, 0, defaultFetchBytes, 1, 0, false, "a b", `1 {"x":2} `},
	} {
		q, err := parseQuery(query)
		if err != nil {
			t.Errorf("%q: %v", query, err)
			continue
		}
		got := want{offset: q.offset, at: q.spec.At, max: q.maxBytes, min: q.minBytes, wait: q.wait, follow: q.follow}
		for i, s := range q.stages {
			if i > 0 {
				got.stages += " "
			}
			got.stages += s.Module
			got.config += string(s.Config) + " "
		}
		if got != w {
			t.Errorf("%q:\n%+v, want\n%+v", query, got, w)
		}
	}
	for _, query := range []string{
		"offset=x", "offset=-1", "offset=", "offset=99999999999999999999", "offset=1&offset=2", "max_bytes=0", "max_bytes=1k", "min_bytes=-1",
		"wait=-1s", "wait=soon", "follow=maybe", "offsets=1", "module=a&module=b&module_config={}", "module_config={}",
	} {
		if _, err := parseQuery(query); !errcode.Is(err, errcode.InvalidRequest) {
			t.Errorf("%q: error %v", query, err)
		}
	}
	if _, err := parseQuery("module=a&module_config={"); !errcode.Is(err, errcode.InvalidJSON) {
		t.Errorf("broken configuration: %v", err)
	}
}

func FuzzFetchQuery(f *testing.F) {
	for _, s := range []string{"", "offset=12&max_bytes=5&min_bytes=1&wait=5s&follow=true", "offset=2026-01-02T03:04:05Z", "module=a&module_config=%7B%7D", "offset=%", "&&=", "wait=1e9s"} {
		f.Add(s)
	}
	o := Options{}.withDefaults()
	f.Fuzz(func(t *testing.T, query string) {
		q, err := parseQuery(query)
		if err != nil {
			if code := errcode.From(err).Code; code == errcode.Unknown {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		if q.offset < -1 || q.maxBytes < 1 || q.maxBytes > o.MaxFetchBytes || q.minBytes < 0 || q.minBytes > q.maxBytes ||
			q.wait < 0 || q.wait > o.MaxWait || len(q.stages) > api.MaxStages {
			t.Errorf("%q: %+v", query, q)
		}
		for _, s := range q.stages {
			if s.Config != nil && !json.Valid(s.Config) {
				t.Errorf("%q: configuration %q", query, s.Config)
			}
		}
	})
}

func TestNegotiate(t *testing.T) {
	offers := []string{mediaJSON, mediaBatches, mediaSSE}
	for accept, want := range map[string]string{
		"":                                    mediaJSON,
		"*/*":                                 mediaJSON,
		"text/*":                              mediaSSE,
		"application/*":                       mediaJSON,
		"TEXT/Event-Stream":                   mediaSSE,
		"application/json;q=0.5, " + mediaSSE: mediaSSE,
		"application/json;q=0, */*":           mediaBatches,
		"text/html, */*;q=0.1":                mediaJSON,
		"application/json;q=0.1,application/*;q=0.9": mediaBatches,
		"application/json;q=x":                       mediaJSON,
	} {
		if got, err := negotiate([]byte(accept), offers); err != nil || got != want {
			t.Errorf("%q gives %q (%v), want %q", accept, got, err, want)
		}
	}
	for _, accept := range []string{"image/png", "application/json;q=0", ",", "text", "*/*;q=0"} {
		if got, err := negotiate([]byte(accept), offers); !errcode.Is(err, errcode.NotAcceptable) {
			t.Errorf("%q gives %q (%v)", accept, got, err)
		}
	}
}

func TestRouterFindsEveryRoute(t *testing.T) {
	rs := routes()
	r := newRouter(rs)
	for _, rt := range rs {
		var params [maxParams][]byte
		path := fmt.Sprint(rt.pattern)
		found, _ := r.find([]byte(rt.method), []byte(path), &params)
		if found != rt {
			t.Errorf("%s %s is not found", rt.method, path)
		}
	}
	var params [maxParams][]byte
	if rt, _ := r.find([]byte("GET"), []byte("/v1/topics/a%2fb%zz%4/partitions/7/records"), &params); rt == nil || string(params[0]) != "a/b%zz%4" || string(params[1]) != "7" {
		t.Errorf("parameters %q", params)
	}
}
