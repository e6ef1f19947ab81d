package httpapi

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
)

func (ts *testServer) put(path, contentType, body string) answer {
	ts.t.Helper()
	return ts.do("PUT", path, strings.NewReader(body), "Content-Type", contentType)
}

func (ts *testServer) delete(path string) answer {
	ts.t.Helper()
	return ts.do("DELETE", path, nil)
}

func TestTopicCalls(t *testing.T) {
	ts := serve(t, Options{})
	a := ts.want(http.StatusCreated, ts.post("/v1/topics", mediaJSON, `{"name":"o","partitions":3,"config":{"flush":"relaxed"}}`))
	if got := a.Header.Get("Location"); got != "/v1/topics/o" {
		t.Errorf("Location %q", got)
	}
	ts.wantCode(errcode.TopicAlreadyExists, ts.post("/v1/topics", mediaJSON, `{"name":"o"}`))
	ts.wantCode(errcode.InvalidTopic, ts.post("/v1/topics", mediaJSON, `{}`))
	if got := len(ts.object(ts.want(http.StatusOK, ts.get("/v1/topics")))["topics"].([]any)); got != 2 {
		t.Errorf("%d topics", got)
	}
	ts.want(http.StatusOK, ts.get("/v1/topics/o"))
	a = ts.want(http.StatusOK, ts.do("PATCH", "/v1/topics/o", strings.NewReader(`{"partitions":4,"config":{"flush":null,"retention.ms":"5"}}`), "Content-Type", mediaJSON))
	if !bytes.Contains(a.body, []byte(`"config":{"retention.ms":"5"}`)) {
		t.Errorf("answer %s", a.body)
	}
	ts.wantCode(errcode.InvalidPartitions, ts.do("PATCH", "/v1/topics/o", strings.NewReader(`{"partitions":1}`)))
	ts.want(http.StatusNoContent, ts.delete("/v1/topics/o"))
	ts.wantCode(errcode.UnknownTopicOrPartition, ts.delete("/v1/topics/o"))
	ts.wantCode(errcode.UnknownTopicOrPartition, ts.get("/v1/topics/o"))

	for name, c := range map[string]struct {
		body         string
		code         errcode.Code
		line, column float64
	}{
		"unknown member": {`{"name":"x","partition":1}`, errcode.InvalidJSON, 0, 0},
		"no object":      {`"x"`, errcode.InvalidJSON, 1, 4},
		"wrong type":     {"{\"name\":\"x\",\n\"partitions\":\"1\"}", errcode.InvalidJSON, 2, 17},
		"broken":         {"{\"name\":\"x\",\n \"partitions\": 1", errcode.InvalidJSON, 2, 17},
		"two values":     {`{"name":"x"}{}`, errcode.InvalidJSON, 1, 13},
		"empty":          {``, errcode.InvalidJSON, 1, 1},
	} {
		p := ts.wantCode(c.code, ts.post("/v1/topics", mediaJSON, c.body))
		if c.line != 0 && (p["line"] != c.line || p["column"] != c.column) {
			t.Errorf("%s: line %v, column %v; want %v, %v", name, p["line"], p["column"], c.line, c.column)
		}
	}
	ts.wantCode(errcode.UnsupportedMediaType, ts.post("/v1/topics", "text/yaml", `name: x`))
	ts.wantCode(errcode.RecordListTooLarge, ts.post("/v1/topics", mediaJSON, strings.Repeat(" ", maxAdminBytes+1)))
}

func TestModuleCalls(t *testing.T) {
	ts := serve(t, Options{MaxModuleBytes: 1000})
	ts.want(http.StatusCreated, ts.put("/v1/modules/m", mediaWasm, "\x00asm one"))
	ts.want(http.StatusOK, ts.put("/v1/modules/m", mediaOctets, "\x00asm one"))
	ts.want(http.StatusCreated, ts.put("/v1/modules/m", mediaWasm, "\x00asm two"))
	ts.wantCode(errcode.InvalidModule, ts.put("/v1/modules/m", mediaWasm, "text"))
	ts.wantCode(errcode.UnsupportedMediaType, ts.put("/v1/modules/m", "text/plain", "\x00asm"))
	ts.wantCode(errcode.RecordListTooLarge, ts.put("/v1/modules/m", mediaWasm, strings.Repeat("x", 1001)))

	a := ts.want(http.StatusOK, ts.get("/v1/modules/m"))
	if !bytes.Contains(a.body, []byte(`"version":2`)) {
		t.Errorf("the newest is %s", a.body)
	}
	a = ts.want(http.StatusOK, ts.get("/v1/modules/m?version=1", "Accept", mediaWasm))
	if string(a.body) != "\x00asm one" {
		t.Errorf("bytes %q", a.body)
	}
	ts.wantCode(errcode.UnknownModule, ts.get("/v1/modules/m?version=9"))
	ts.wantCode(errcode.InvalidRequest, ts.get("/v1/modules/m?version=0"))
	ts.wantCode(errcode.InvalidRequest, ts.get("/v1/modules/m?v=1"))
	ts.wantCode(errcode.UnknownModule, ts.get("/v1/modules/none"))
	ts.wantCode(errcode.UnknownModule, ts.get("/v1/modules/none/versions"))
	if got := len(ts.object(ts.want(http.StatusOK, ts.get("/v1/modules/m/versions")))["versions"].([]any)); got != 2 {
		t.Errorf("%d versions", got)
	}
	if got := len(ts.object(ts.want(http.StatusOK, ts.get("/v1/modules")))["modules"].([]any)); got != 1 {
		t.Errorf("%d modules", got)
	}

	a = ts.want(http.StatusOK, ts.post("/v1/modules/m/dry-run?version=1", mediaJSON,
		`{"topic":"t","place":"view","partition":1,"config":{"a": 1},"on_error":"drop","records":[{"key":"k","value":{"n": 1},"timestamp":0},{}]}`))
	want := `{"module":"m@1","elapsed_ns":1,"verdicts":[{"index":0,"verdict":"kept","outputs":[{"topic":"t","partition":1,"timestamp":"1970-01-01T00:00:00.000Z","key":"k","value":{"n":1}}]},{"index":1,"verdict":"rejected","code":42,"message":"no key"}]}`
	if string(a.body) != want {
		t.Errorf("dry run\n%s\nwant\n%s", a.body, want)
	}
	ts.wantCode(errcode.InvalidJSON, ts.post("/v1/modules/m/dry-run", mediaJSON, `{"record":[]}`))
	ts.wantCode(errcode.UnknownModule, ts.post("/v1/modules/none/dry-run", mediaJSON, `{"records":[]}`))
	ts.wantCode(errcode.UnsupportedMediaType, ts.post("/v1/modules/m/dry-run", mediaNDJSON, `{}`))
	ts.want(http.StatusNoContent, ts.delete("/v1/modules/m"))
	ts.wantCode(errcode.UnknownModule, ts.delete("/v1/modules/m"))
}

func TestTransformCalls(t *testing.T) {
	ts := serve(t, Options{})
	ts.want(http.StatusCreated, ts.post("/v1/topics", mediaJSON, `{"name":"d"}`))
	ts.want(http.StatusCreated, ts.post("/v1/topics", mediaJSON, `{"name":"o"}`))
	ts.want(http.StatusCreated, ts.put("/v1/modules/redact", mediaWasm, "\x00asm one"))
	ts.want(http.StatusCreated, ts.put("/v1/modules/redact", mediaWasm, "\x00asm two"))
	stages := `"stages":[{"module":"redact","version":2,"config":{"k":[1]},"on_error":"dead_letter","dead_letter_topic":"d"}]`
	other := `"stages":[{"module":"redact@1","on_error":"drop"}]`
	ts.wantCode(errcode.NotFound, ts.get("/v1/topics/t/pipeline"))
	ts.want(http.StatusCreated, ts.put("/v1/topics/t/pipeline", mediaJSON, "{"+other+"}"))
	a := ts.want(http.StatusOK, ts.put("/v1/topics/t/pipeline", mediaJSON, "{"+stages+"}"))
	if !bytes.Contains(a.body, []byte(stages)) || !bytes.Contains(a.body, []byte(`"version":2`)) {
		t.Errorf("answer %s", a.body)
	}
	ts.want(http.StatusOK, ts.get("/v1/topics/t/pipeline"))
	ts.wantCode(errcode.InvalidPipeline, ts.put("/v1/topics/t/pipeline", mediaJSON, `{"stages":[]}`))
	ts.wantCode(errcode.InvalidJSON, ts.put("/v1/topics/t/pipeline", mediaJSON, `{"stages":[{"modul":"x"}]}`))
	ts.want(http.StatusNoContent, ts.delete("/v1/topics/t/pipeline"))

	for _, c := range []struct {
		path, list, body string
		code             errcode.Code
	}{
		{"/v1/views/x", "views", `{"topic":"t",` + other + "}", errcode.UnknownView},
		{"/v1/derivations/x", "derivations", `{"topic":"t","output":"o","start_from":"latest",` + other + "}", errcode.UnknownDerivation},
	} {
		ts.wantCode(c.code, ts.get(c.path))
		ts.want(http.StatusCreated, ts.put(c.path, mediaJSON, c.body))
		ts.want(http.StatusOK, ts.put(c.path, mediaJSON, c.body))
		ts.want(http.StatusOK, ts.get(c.path))
		if got := len(ts.object(ts.want(http.StatusOK, ts.get("/v1/"+c.list)))[c.list].([]any)); got != 1 {
			t.Errorf("%d %s", got, c.list)
		}
		ts.want(http.StatusNoContent, ts.delete(c.path))
		ts.wantCode(c.code, ts.get(c.path))
		if a := ts.want(http.StatusOK, ts.get("/v1/"+c.list)); !bytes.Contains(a.body, []byte(`[]`)) {
			t.Errorf("an empty list is %s", a.body)
		}
	}
}

func TestOperationsCalls(t *testing.T) {
	ts := serve(t, Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, "wasmill_up 1\n")
	})})
	ts.want(http.StatusOK, ts.get("/v1/cluster"))
	ts.want(http.StatusOK, ts.get("/v1/brokers"))
	if a := ts.want(http.StatusOK, ts.get("/metrics")); string(a.body) != "wasmill_up 1\n" {
		t.Errorf("metrics %q", a.body)
	}
	if a := ts.want(http.StatusOK, ts.get("/openapi.json")); !bytes.Equal(a.body, openAPI) {
		t.Error("openapi.json is not the document")
	}
	for _, want := range []string{`{"producer_id":1,"producer_epoch":0}`, `{"producer_id":2,"producer_epoch":0}`} {
		if a := ts.want(http.StatusOK, ts.post("/v1/producers", mediaJSON, "")); strings.TrimSpace(string(a.body)) != want {
			t.Errorf("answer %s, want %s", a.body, want)
		}
	}
	bare := serve(t, Options{})
	bare.wantCode(errcode.NotFound, bare.get("/metrics"))
}

// A member of the wrong kind is refused in the words of JSON, not of Go.
func TestMistypedMembers(t *testing.T) {
	ts := serve(t, Options{})
	for body, want := range map[string]string{
		`{"name":1}`:          `member "name" must be a string, not number`,
		`{"partitions":"1"}`:  `member "partitions" must be a whole number within the bounds of an int32, not string`,
		`{"partitions":1e10}`: `member "partitions" must be a whole number within the bounds of an int32, not number 1e10`,
		`{"config":[]}`:       `member "config" must be an object, not array`,
		`[]`:                  `the body must be an object, not array`,
	} {
		if p := ts.wantCode(errcode.InvalidJSON, ts.post("/v1/topics", mediaJSON, body)); !strings.Contains(p["detail"].(string), want) {
			t.Errorf("%s: %s, want %s", body, p["detail"], want)
		}
	}
	p := ts.wantCode(errcode.InvalidJSON, ts.put("/v1/topics/t/pipeline", mediaJSON, `{"stages":{}}`))
	if want := `member "stages" must be an array, not object`; !strings.Contains(p["detail"].(string), want) {
		t.Errorf("%s, want %s", p["detail"], want)
	}
}
