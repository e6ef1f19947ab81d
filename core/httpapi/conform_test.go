package httpapi

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/wasmill/wasmill/core/errcode"
)

// document is openapi.json, ready to be held against requests and answers.
type document struct {
	*openapi3.T
	router routers.Router
}

var loadDocument = sync.OnceValues(func() (*document, error) {
	for _, media := range []string{mediaBatches, mediaFetch, mediaNDJSON, mediaSSE, mediaWasm, "image/png"} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.FileBodyDecoder)
	}
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // tests listen anywhere
	router, err := gorillamux.NewRouter(doc)
	return &document{doc, router}, err
})

// conforming holds every answer against the API document, and every request that was accepted.
type conforming struct {
	t    *testing.T
	next http.RoundTripper
}

func (c conforming) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil && r.ContentLength >= 0 {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if err := conforms(r, sent, resp); err != nil {
		c.t.Errorf("%s %s: answer %d does not conform to the API document: %v", r.Method, r.URL, resp.StatusCode, err)
	}
	return resp, nil
}

func conforms(r *http.Request, sent []byte, resp *http.Response) error {
	doc, err := loadDocument()
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		return nil // GET without its body
	}
	route, params, err := doc.router.FindRoute(r)
	if err != nil {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			return err
		}
		body, err := buffered(resp)
		if err != nil {
			return err
		}
		return visit(doc, "Problem", body)
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true}
	asked := r.Clone(context.Background())
	asked.Body = io.NopCloser(bytes.NewReader(sent))
	in := &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route, Options: options}
	if resp.StatusCode < 300 && r.ContentLength >= 0 {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			return err
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: options}
	if endless(resp) {
		options.ExcludeResponseBody = true
		return openapi3filter.ValidateResponse(context.Background(), out)
	}
	body, err := buffered(resp)
	if err != nil {
		return err
	}
	out.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		return err
	}
	return conformsInside(doc, resp.Header.Get("Content-Type"), body)
}

// endless reports whether the answer is a stream that its reader ends.
func endless(resp *http.Response) bool {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return resp.ContentLength < 0 && (media == mediaSSE || media == mediaNDJSON)
}

func buffered(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return body, err
}

// conformsInside checks the JSON that lies inside of forms that OpenAPI cannot describe.
func conformsInside(doc *document, media string, body []byte) error {
	switch media {
	case mediaNDJSON:
		for line := range bytes.Lines(body) {
			if err := visit(doc, "FetchedRecord", line); err != nil {
				return err
			}
		}
	case mediaFetch:
		return visit(doc, "FetchFrame", body[4:4+binary.LittleEndian.Uint32(body)])
	}
	return nil
}

// visit holds JSON against a named schema.
func visit(doc *document, schema string, body []byte) error {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	return doc.Components.Schemas[schema].Value.VisitJSON(v)
}

func TestDocumentIsValid(t *testing.T) {
	doc, err := loadDocument()
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestDocumentListsTheRoutes(t *testing.T) {
	doc, err := loadDocument()
	if err != nil {
		t.Fatal(err)
	}
	var served, described []string
	for _, rt := range routes() {
		served = append(served, rt.method+" "+rt.pattern)
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Errorf("served:\n%s\ndescribed:\n%s", strings.Join(served, "\n"), strings.Join(described, "\n"))
	}
}

func TestDocumentListsTheErrorCodes(t *testing.T) {
	doc, err := loadDocument()
	if err != nil {
		t.Fatal(err)
	}
	for _, schema := range []string{"Error", "Problem"} {
		props := doc.Components.Schemas[schema].Value.Properties
		var codes, names []any
		for _, row := range errcode.Table() {
			codes = append(codes, float64(row.Code))
			names = append(names, row.Name)
		}
		if got := props["code"].Value.Enum; !slices.Equal(got, codes) {
			t.Errorf("%s.code lists %v, the table %v", schema, got, codes)
		}
		if got := props["name"].Value.Enum; !slices.Equal(got, names) {
			t.Errorf("%s.name lists %v, the table %v", schema, got, names)
		}
	}
}

// Every code reaches the client as the table says it.
func TestErrorTable(t *testing.T) {
	ts := serve(t, Options{})
	for _, row := range errcode.Table() {
		ts.fake.OnProduce = func(context.Context) error {
			return errcode.New(row.Code, "detail of %s", row.Name).With("extra", 1)
		}
		a := ts.post("/v1/topics/t/records", mediaJSON, `{"records":[{}]}`)
		p := ts.wantCode(row.Code, a)
		if p["name"] != row.Name || p["retriable"] != row.Retriable || p["title"] != row.Summary || p["extra"] != 1.0 ||
			p["request_id"] != a.Header.Get("X-Request-Id") || p["status"] != float64(row.HTTPStatus) {
			t.Errorf("%s: problem %v", row.Name, p)
		}
		if got := a.Header.Get("Retry-After") != ""; got != row.Retriable {
			t.Errorf("%s: Retry-After is there: %v, retriable: %v", row.Name, got, row.Retriable)
		}
	}
}

// The check of answers must be able to fail.
func TestConformanceNoticesDeviations(t *testing.T) {
	for name, c := range map[string]struct {
		status      int
		contentType string
		body        string
	}{
		"unknown member":  {200, mediaJSON, `{"topics":[],"more":1}`},
		"missing member":  {200, mediaJSON, `{}`},
		"wrong type":      {200, mediaJSON, `{"topics":{}}`},
		"unlisted status": {202, mediaJSON, `{"topics":[]}`},
		"other form":      {200, "text/plain", `{"topics":[]}`},
		"plain error":     {500, "text/plain", `oops`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest("GET", "http://x/v1/topics", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp := &http.Response{StatusCode: c.status, Header: http.Header{"Content-Type": {c.contentType}},
				ContentLength: int64(len(c.body)), Body: io.NopCloser(strings.NewReader(c.body))}
			if conforms(r, nil, resp) == nil {
				t.Error("the deviation went unnoticed")
			}
		})
	}
}
