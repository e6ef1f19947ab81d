package apitest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// Conform runs the cases that every broker behind the HTTP API must pass. url is that of a server over
// a broker without topics and modules, that gets no other requests.
func Conform(t *testing.T, url string, client *http.Client) {
	for name, run := range map[string]func(*kit){
		"topics": conformTopics, "modules": conformModules, "records": conformRecords, "views": conformViews,
		"derivations": conformDerivations, "operations": conformOperations,
	} {
		t.Run(name, func(t *testing.T) { run(&kit{t, url, client}) })
	}
	for _, r := range versioned {
		t.Run("versions of a "+r.kind, func(t *testing.T) { conformVersions(&kit{t, url, client}, r) })
	}
}

// kit sends requests and checks answers.
type kit struct {
	t      *testing.T
	url    string
	client *http.Client
}

// reply is an answer whose body was read.
type reply struct {
	*http.Response
	body []byte
}

// do sends a request; header pairs follow the body, which is JSON or a module unless they say otherwise.
func (k *kit) do(method, path, body string, header ...string) reply {
	k.t.Helper()
	req, err := http.NewRequest(method, k.url+path, strings.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	switch {
	case strings.HasPrefix(body, "{"):
		req.Header.Set("Content-Type", "application/json")
	case body != "":
		req.Header.Set("Content-Type", "application/wasm")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := k.client.Do(req)
	if err != nil {
		k.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatalf("%s %s: read answer: %v", method, path, err)
	}
	return reply{resp, b}
}

// want demands a status and returns the answer's members, nil when it has no body.
func (k *kit) want(status int, r reply) map[string]any {
	k.t.Helper()
	if r.StatusCode != status {
		k.t.Fatalf("%s %s: status %d, want %d: %s", r.Request.Method, r.Request.URL.Path, r.StatusCode, status, r.body)
	}
	if len(r.body) == 0 {
		return nil
	}
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		k.t.Fatalf("%s %s: %v: %s", r.Request.Method, r.Request.URL.Path, err, r.body)
	}
	return v
}

// refused demands an error's code and status.
func (k *kit) refused(code errcode.Code, r reply) map[string]any {
	k.t.Helper()
	p := k.want(code.Info().HTTPStatus, r)
	if p["code"] != float64(code) {
		k.t.Fatalf("%s %s: want %s: %s", r.Request.Method, r.Request.URL.Path, code, r.body)
	}
	return p
}

// same demands a member's value, given as JSON.
func (k *kit) same(v map[string]any, member, want string) {
	k.t.Helper()
	got, err := json.Marshal(v[member])
	if err != nil {
		k.t.Fatal(err)
	}
	if string(got) != want {
		k.t.Errorf("%s is %s, want %s", member, got, want)
	}
}

// topic makes a topic of one partition.
func (k *kit) topic(name string) {
	k.t.Helper()
	k.want(http.StatusCreated, k.do("POST", "/v1/topics", `{"name":"`+name+`"}`))
}

// module uploads a module as often as it is to have versions.
func (k *kit) module(name string, versions int) {
	k.t.Helper()
	for n := range versions {
		k.want(http.StatusCreated, k.do("PUT", "/v1/modules/"+name, moduleBytes(name, n)))
	}
}

// moduleBytes are different modules that keep every record.
func moduleBytes(name string, n int) string {
	return string(wasmtest.With(wasmtest.Parts{Data: name + strings.Repeat("+", n)}))
}

func conformTopics(k *kit) {
	r := k.do("POST", "/v1/topics", `{"name":"a","partitions":3,"config":{"flush":"relaxed"}}`)
	topic := k.want(http.StatusCreated, r)
	if got := r.Header.Get("Location"); got != "/v1/topics/a" {
		k.t.Errorf("Location is %q", got)
	}
	k.same(topic, "partitions", "3")
	k.same(topic, "config", `{"flush":"relaxed"}`)
	if got := len(topic["partition_state"].([]any)); got != 3 {
		k.t.Errorf("state of %d partitions", got)
	}
	k.refused(errcode.TopicAlreadyExists, k.do("POST", "/v1/topics", `{"name":"a"}`))
	k.refused(errcode.InvalidTopic, k.do("POST", "/v1/topics", `{"name":"a b"}`))
	k.refused(errcode.InvalidTopic, k.do("POST", "/v1/topics", `{}`))
	k.topic("b")
	k.same(k.want(http.StatusOK, k.do("GET", "/v1/topics/b", "")), "config", "{}")

	k.same(k.want(http.StatusOK, k.do("PATCH", "/v1/topics/a", `{"partitions":4,"config":{"flush":null,"retention.ms":"5"}}`)), "config", `{"retention.ms":"5"}`)
	k.same(k.want(http.StatusOK, k.do("GET", "/v1/topics/a", "")), "partitions", "4")
	k.refused(errcode.InvalidPartitions, k.do("PATCH", "/v1/topics/a", `{"partitions":1}`))
	k.refused(errcode.UnknownTopicOrPartition, k.do("PATCH", "/v1/topics/none", `{"partitions":1}`))

	var names []string
	for _, t := range k.want(http.StatusOK, k.do("GET", "/v1/topics", ""))["topics"].([]any) {
		names = append(names, t.(map[string]any)["name"].(string))
	}
	if all := strings.Join(names, " "); !strings.Contains(all, "a b") {
		k.t.Errorf("topics are listed as %s", all)
	}
	k.want(http.StatusNoContent, k.do("DELETE", "/v1/topics/a", ""))
	k.refused(errcode.UnknownTopicOrPartition, k.do("DELETE", "/v1/topics/a", ""))
	k.refused(errcode.UnknownTopicOrPartition, k.do("GET", "/v1/topics/a", ""))
	again := k.want(http.StatusCreated, k.do("POST", "/v1/topics", `{"name":"a"}`))
	if again["id"].(float64) <= topic["id"].(float64) {
		k.t.Errorf("topic a has id %v again after %v", again["id"], topic["id"])
	}
}

func conformModules(k *kit) {
	one, two := moduleBytes("m", 0), moduleBytes("m", 1)
	k.refused(errcode.UnknownModule, k.do("GET", "/v1/modules/m", ""))
	k.same(k.want(http.StatusCreated, k.do("PUT", "/v1/modules/m", one)), "version", "1")
	k.same(k.want(http.StatusOK, k.do("PUT", "/v1/modules/m", one)), "version", "1")
	k.same(k.want(http.StatusCreated, k.do("PUT", "/v1/modules/m", two)), "version", "2")
	k.refused(errcode.InvalidModule, k.do("PUT", "/v1/modules/m", "no module"))

	k.same(k.want(http.StatusOK, k.do("GET", "/v1/modules/m", "")), "version", "2")
	if r := k.do("GET", "/v1/modules/m?version=1", "", "Accept", "application/wasm"); string(r.body) != one {
		k.t.Errorf("version 1 has %d bytes, want %d", len(r.body), len(one))
	}
	k.refused(errcode.UnknownModule, k.do("GET", "/v1/modules/m?version=9", ""))
	if got := len(k.want(http.StatusOK, k.do("GET", "/v1/modules/m/versions", ""))["versions"].([]any)); got != 2 {
		k.t.Errorf("%d versions", got)
	}

	k.topic("uses-m")
	k.want(http.StatusCreated, k.do("PUT", "/v1/topics/uses-m/pipeline", `{"stages":[{"module":"m@1"}]}`))
	k.refused(errcode.ModuleInUse, k.do("DELETE", "/v1/modules/m", ""))
	k.refused(errcode.ModuleInUse, k.do("DELETE", "/v1/modules/m?version=1", ""))
	k.want(http.StatusNoContent, k.do("DELETE", "/v1/modules/m?version=2", ""))
	k.same(k.want(http.StatusOK, k.do("GET", "/v1/modules/m", "")), "version", "1")
	k.same(k.want(http.StatusCreated, k.do("PUT", "/v1/modules/m", two)), "version", "3") // a number is not used again
	k.want(http.StatusNoContent, k.do("DELETE", "/v1/topics/uses-m", ""))
	k.want(http.StatusNoContent, k.do("DELETE", "/v1/modules/m", ""))
	k.refused(errcode.UnknownModule, k.do("DELETE", "/v1/modules/m", ""))
	k.refused(errcode.UnknownModule, k.do("GET", "/v1/modules/m/versions", ""))
}

func conformOperations(k *kit) {
	k.want(http.StatusOK, k.do("GET", "/healthz", ""))
	k.want(http.StatusOK, k.do("GET", "/readyz", ""))
	k.want(http.StatusOK, k.do("GET", "/v1/cluster", ""))
	if got := len(k.want(http.StatusOK, k.do("GET", "/v1/brokers", ""))["brokers"].([]any)); got != 1 {
		k.t.Errorf("%d brokers", got)
	}
	first := k.want(http.StatusOK, k.do("POST", "/v1/producers", ""))
	second := k.want(http.StatusOK, k.do("POST", "/v1/producers", ""))
	if first["producer_id"] == second["producer_id"] {
		k.t.Errorf("producer id %v was given out twice", first["producer_id"])
	}
	k.same(first, "producer_epoch", "0")
}

// offset is the base offset of a produce answer that wrote to one partition.
func (k *kit) offset(r reply) float64 {
	k.t.Helper()
	parts := k.want(http.StatusOK, r)["partitions"].([]any)
	if len(parts) != 1 {
		k.t.Fatalf("%d partitions were written to: %s", len(parts), r.body)
	}
	return parts[0].(map[string]any)["base_offset"].(float64)
}

func conformRecords(k *kit) {
	const records = "/v1/topics/r/partitions/0/records"
	k.topic("r")
	if got := k.offset(k.do("POST", "/v1/topics/r/records", `{"records":[{"value":"a"},{"value":"b"}]}`)); got != 0 {
		k.t.Errorf("the first record has offset %v", got)
	}
	if got := k.offset(k.do("POST", "/v1/topics/r/records?partition=0", "c", "Content-Type", "text/plain", "Wasmill-Key", "k")); got != 2 {
		k.t.Errorf("the third record has offset %v", got)
	}
	k.refused(errcode.UnknownTopicOrPartition, k.do("POST", "/v1/topics/r/records?partition=1", "x", "Content-Type", "text/plain"))
	k.refused(errcode.UnknownTopicOrPartition, k.do("POST", "/v1/topics/none/records", "x", "Content-Type", "text/plain"))
	k.refused(errcode.CorruptMessage, k.do("POST", "/v1/topics/r/records?partition=0", strings.Repeat("x", 100), "Content-Type", "application/vnd.wasmill.batches"))

	r := k.do("GET", records+"?offset=1", "", "Accept", "application/x-ndjson")
	if n := bytes.Count(r.body, []byte("\n")); r.StatusCode != http.StatusOK || n != 2 || !bytes.Contains(r.body, []byte(`"key":"k","value":"c"`)) {
		k.t.Errorf("status %d, %d lines: %s", r.StatusCode, n, r.body)
	}
	for header, want := range map[string]string{
		"Wasmill-Next-Offset": "3", "Wasmill-High-Watermark": "3", "Wasmill-Log-Start-Offset": "0",
	} {
		if got := r.Header.Get(header); got != want {
			k.t.Errorf("%s is %s, want %s", header, got, want)
		}
	}
	if r := k.do("GET", records+"?offset=latest", "", "Accept", "application/x-ndjson"); r.StatusCode != http.StatusOK || len(r.body) != 0 {
		k.t.Errorf("status %d after the last record: %s", r.StatusCode, r.body)
	}
	p := k.refused(errcode.OffsetOutOfRange, k.do("GET", records+"?offset=4", ""))
	k.same(p, "high_watermark", "3")
	k.same(p, "log_start_offset", "0")
	k.refused(errcode.UnknownTopicOrPartition, k.do("GET", "/v1/topics/r/partitions/1/records", ""))
	k.refused(errcode.UnknownTopicOrPartition, k.do("GET", "/v1/topics/none/partitions/0/records", ""))
}
