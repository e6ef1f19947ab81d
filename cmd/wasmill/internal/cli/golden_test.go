package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// canned answers of a server, by method and path.
var canned = map[string]string{
	"GET /v1/topics": `{"topics":[
		{"id":1,"name":"orders","partitions":2,"replication":1,"config":{"flush":"relaxed"},"created_at":"2026-01-02T03:04:05Z","pipeline_version":3,
		 "partition_state":[{"partition":0,"leader":"1","log_start_offset":100,"high_watermark":1500,"size_bytes":1572864},{"partition":1,"leader":"1","log_start_offset":0,"high_watermark":12,"size_bytes":900}]},
		{"id":2,"name":"logs","partitions":1,"replication":1,"config":{},"created_at":"2026-01-02T03:04:06Z"}]}`,
	"GET /v1/topics/orders": `{"id":1,"name":"orders","partitions":2,"replication":1,"config":{"flush":"relaxed"},
		"effective_config":{"flush":"relaxed","retention.ms":"604800000"},"created_at":"2026-01-02T03:04:05Z","pipeline_version":3,
		"partition_state":[{"partition":0,"leader":"1","log_start_offset":100,"high_watermark":1500,"size_bytes":1572864},
		{"partition":1,"leader":"1","log_start_offset":0,"high_watermark":12,"size_bytes":900,"error":"the disk failed"}]}`,
	"GET /v1/modules": `{"modules":[{"name":"redact","version":3,"sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"size":18432,"abi":"wasmill-v1","fields":["key","value"],"created_at":"2026-01-02T03:04:05Z"},
		{"name":"count","version":1,"sha256":"ff","size":10,"abi":"wasmill-v1","fields":[],"created_at":"2026-01-02T03:04:05Z"}]}`,
	"GET /v1/modules/redact/versions": `{"versions":[{"name":"redact","version":1,"sha256":"0123456789abcdef0123456789abcdef","size":18000,"abi":"wasmill-v1","fields":["value"],"created_at":"2026-01-01T03:04:05Z"},
		{"name":"redact","version":2,"sha256":"1123456789abcdef0123456789abcdef","size":18432,"abi":"wasmill-v1","fields":["value"],"created_at":"2026-01-02T03:04:05Z"}]}`,
	"GET /v1/topics/orders/pipeline": `{"topic":"orders","version":3,"updated_at":"2026-01-02T03:04:05Z","stages":[
		{"module":"check","version":3,"on_error":"reject"},{"module":"redact","version":2,"on_error":"dead_letter","dead_letter_topic":"bad","config":{"fields":["email"]}}]}`,
	"GET /v1/views":   `{"views":[{"name":"orders-public","topic":"orders","version":1,"updated_at":"2026-01-02T03:04:05Z","stages":[{"module":"redact","version":2}]}]}`,
	"GET /v1/views/v": `{"name":"v","topic":"orders","version":1,"updated_at":"2026-01-02T03:04:05Z","stages":[{"module":"redact","version":2,"on_error":"skip"}]}`,
	"GET /v1/derivations": `{"derivations":[{"id":1,"name":"totals","topic":"orders","output":"order-totals","start_from":"earliest","version":1,"updated_at":"2026-01-02T03:04:05Z",
		"stages":[{"module":"total","version":1}],"progress":[{"partition":0,"next_offset":10,"lag":1490},{"partition":1,"next_offset":12,"lag":0,"error":"the module fails"}]}]}`,
	"GET /v1/derivations/totals": `{"id":1,"name":"totals","topic":"orders","output":"order-totals","start_from":"earliest","version":1,"updated_at":"2026-01-02T03:04:05Z",
		"stages":[{"module":"total","version":1}],"progress":[{"partition":0,"next_offset":10,"lag":1490}]}`,
	"POST /v1/modules/redact/dry-run": `{"module":"redact@2","elapsed_ns":1234000,"verdicts":[
		{"index":0,"verdict":"kept","outputs":[{"topic":"test","partition":-1,"key":"k","value":{"a":1}}]},
		{"index":1,"verdict":"rejected","code":7,"message":"not wanted"},
		{"index":2,"verdict":"routed","outputs":[{"topic":"other","partition":2,"value_b64":"/w=="},{"topic":"other","partition":-1}]},
		{"index":3,"verdict":"dropped"}]}`,
	"POST /v1/topics":                `{"id":1,"name":"orders","partitions":2,"replication":1,"config":{},"effective_config":{},"created_at":"2026-01-02T03:04:05Z"}`,
	"DELETE /v1/topics/orders":       ``,
	"GET /v1/modules/empty/versions": `{"versions":[]}`,
	"PUT /v1/topics/orders/pipeline": `{"topic":"orders","version":1,"updated_at":"2026-01-02T03:04:05Z","stages":[{"module":"check","version":3,"on_error":"reject"}]}`,
	"PUT /v1/views/v":                `{"name":"v","topic":"orders","version":1,"updated_at":"2026-01-02T03:04:05Z","stages":[{"module":"redact","version":2,"on_error":"skip"}]}`,
	"PUT /v1/derivations/totals":     `{"id":1,"name":"totals","topic":"orders","output":"order-totals","start_from":"earliest","version":1,"updated_at":"2026-01-02T03:04:05Z","stages":[{"module":"total","version":1}],"progress":[]}`,
}

// cannedServer serves them.
func cannedServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := canned[r.Method+" "+r.URL.Path]
		if !ok {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			text = `{"code":1021,"name":"NOT_FOUND","status":404,"detail":"there is nothing at ` + r.URL.Path + `","retriable":false}`
		}
		if text == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

const samples = "{\"key\":\"k\",\"value\":{\"a\":1}}\n{\"value\":\"x\"}\n{\"value\":\"y\"}\n{\"value\":\"z\"}\n"

// Every command's output, for people and for scripts, stays what it is.
func TestGoldenOutput(t *testing.T) {
	url := cannedServer(t)
	for name, args := range map[string]string{
		"topic-list":     "topic list",
		"topic-describe": "topic describe orders",
		"topic-create":   "topic create orders -p 2",
		"topic-delete":   "topic delete orders",
		"module-list":    "module list",
		"module-show":    "module show redact",
		"module-test":    "module test redact@2",
		"pipeline-get":   "pipeline get orders",
		"pipeline-set":   "pipeline set orders --stage check@3",
		"view-list":      "view list",
		"view-get":       "view get v",
		"view-create":    "view create v --topic orders --stage redact,on_error=skip",
		"derive-list":    "derive list",
		"derive-get":     "derive get totals",
		"derive-create":  "derive create totals -t orders -o order-totals -s total@1",
		"not-found":      "topic describe nothing",
		"usage":          "topic create",
		"unknown":        "topic lsit",
	} {
		for _, json := range []bool{false, true} {
			line, file := strings.Fields(args), name+".txt"
			if json {
				line, file = append(line, "--json"), name+".json"
			}
			t.Run(file, func(t *testing.T) {
				r := at(t, url, samples, line...)
				golden(t, file, r.out+r.err)
			})
		}
	}
}

func TestVersion(t *testing.T) {
	r := at(t, server, "", "version")
	if r.code != ExitOK || !strings.HasPrefix(r.out, "wasmill v1.2.3 (go") {
		t.Errorf("%+v", r)
	}
	if r := at(t, server, "", "--version"); r.out != "wasmill v1.2.3\n" {
		t.Errorf("%+v", r)
	}
}

func TestEmptyListsSayWhatToDo(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }))
	defer s.Close()
	for _, what := range []string{"topic", "module", "view", "derive"} {
		if r := at(t, s.URL, "", what, "list"); r.code != ExitOK || r.out != "" || !strings.Contains(r.err, "wasmill "+what) {
			t.Errorf("%s list: %+v", what, r)
		}
		if r := at(t, s.URL, "", what, "list", "--json"); !strings.Contains(r.out, "[]") {
			t.Errorf("%s list --json: %+v", what, r)
		}
	}
}
