package apitest

import (
	"fmt"
	"net/http"

	"github.com/wasmill/wasmill/core/errcode"
)

// resource is a kind of thing that has versions: made and replaced by PUT, taken away by DELETE.
type resource struct {
	kind    string
	path    string // of one of them
	body    string // of a PUT, with a place for the stages
	missing errcode.Code
}

// versioned are the resources whose versions count. Each has topics of its own, which its kind names.
var versioned = []resource{
	{"pipeline", "/v1/topics/pipeline-in/pipeline", `{%s}`, errcode.NotFound},
	{"view", "/v1/views/seen", `{"topic":"view-in",%s}`, errcode.UnknownView},
	{"derivation", "/v1/derivations/copy", `{"topic":"derivation-in","output":"derivation-out",%s}`, errcode.UnknownDerivation},
}

// conformVersions follows one resource through its life: the status of every call, its versions, and
// what becomes of calls that name one.
func conformVersions(k *kit, r resource) {
	k.topic(r.kind + "-in")
	k.topic(r.kind + "-out")
	module := "for-" + r.kind
	k.module(module, 2)
	body := func(version int) string {
		return fmt.Sprintf(r.body, fmt.Sprintf(`"stages":[{"module":"%s@%d"}]`, module, version))
	}
	// is demands a version in the answer and in its ETag.
	is := func(status int, version int, a reply) {
		k.t.Helper()
		k.same(k.want(status, a), "version", fmt.Sprint(version))
		if got, want := a.Header.Get("ETag"), fmt.Sprintf(`"%d"`, version); got != want {
			k.t.Errorf("ETag is %s, want %s", got, want)
		}
	}
	conflict := func(version int, a reply) {
		k.t.Helper()
		k.same(k.refused(errcode.VersionConflict, a), "version", fmt.Sprint(version))
	}
	const created, replaced, done = http.StatusCreated, http.StatusOK, http.StatusNoContent

	k.refused(r.missing, k.do("GET", r.path, ""))
	k.refused(r.missing, k.do("DELETE", r.path, ""))
	conflict(0, k.do("PUT", r.path, body(1), "If-Match", `"1"`))
	is(created, 1, k.do("PUT", r.path, body(1)))
	is(replaced, 1, k.do("PUT", r.path, body(1))) // nothing changes
	is(replaced, 1, k.do("GET", r.path, ""))
	is(replaced, 2, k.do("PUT", r.path, body(2)))

	conflict(2, k.do("PUT", r.path, body(1), "If-Match", `"1"`))
	conflict(2, k.do("PUT", r.path, body(2), "If-Match", `"1"`)) // even if nothing would change
	conflict(2, k.do("PUT", r.path, body(1), "If-None-Match", "*"))
	is(replaced, 3, k.do("PUT", r.path, body(1), "If-Match", `"2"`))
	for _, bad := range []string{"3", `W/"3"`, `"0"`, `""`, `"x"`, `"3", "4"`, "*"} {
		k.refused(errcode.InvalidRequest, k.do("PUT", r.path, body(2), "If-Match", bad))
		k.refused(errcode.InvalidRequest, k.do("DELETE", r.path, "", "If-Match", bad))
	}
	k.refused(errcode.InvalidRequest, k.do("PUT", r.path, body(2), "If-None-Match", `"3"`))
	k.refused(errcode.InvalidRequest, k.do("PUT", r.path, body(2), "If-Match", `"3"`, "If-None-Match", "*"))
	is(replaced, 3, k.do("GET", r.path, "")) // what was refused changed nothing

	k.refused(errcode.InvalidPipeline, k.do("PUT", r.path, fmt.Sprintf(r.body, `"stages":[]`)))
	k.refused(errcode.UnknownModule, k.do("PUT", r.path, fmt.Sprintf(r.body, `"stages":[{"module":"none"}]`)))

	conflict(3, k.do("DELETE", r.path, "", "If-Match", `"2"`))
	k.want(done, k.do("DELETE", r.path, "", "If-Match", `"3"`))
	k.refused(r.missing, k.do("GET", r.path, ""))
	is(created, 4, k.do("PUT", r.path, body(1), "If-None-Match", "*")) // versions count on
	k.want(done, k.do("DELETE", r.path, ""))
	k.refused(r.missing, k.do("DELETE", r.path, ""))
	is(created, 5, k.do("PUT", r.path, body(1)))
}

func conformViews(k *kit) {
	k.topic("clicks")
	k.module("for-clicks", 1)
	const stages = `"stages":[{"module":"for-clicks"}]`
	if got := k.want(http.StatusOK, k.do("GET", "/v1/views", ""))["views"]; got == nil {
		k.t.Error("a list of views is null")
	}
	k.refused(errcode.UnknownTopicOrPartition, k.do("PUT", "/v1/views/clicks-seen", `{"topic":"none",`+stages+`}`))
	k.refused(errcode.TopicAlreadyExists, k.do("PUT", "/v1/views/clicks", `{"topic":"clicks",`+stages+`}`))
	k.want(http.StatusCreated, k.do("PUT", "/v1/views/clicks-seen", `{"topic":"clicks",`+stages+`}`))
	k.refused(errcode.ViewReadOnly, k.do("PUT", "/v1/views/deeper", `{"topic":"clicks-seen",`+stages+`}`))
	k.refused(errcode.TopicAlreadyExists, k.do("POST", "/v1/topics", `{"name":"clicks-seen"}`))
	k.refused(errcode.ViewReadOnly, k.do("POST", "/v1/topics/clicks-seen/records", "x", "Content-Type", "text/plain"))
	k.refused(errcode.ViewReadOnly, k.do("PUT", "/v1/topics/clicks-seen/pipeline", `{`+stages+`}`))
	k.refused(errcode.TopicInUse, k.do("DELETE", "/v1/topics/clicks", ""))
	topic := k.want(http.StatusOK, k.do("GET", "/v1/topics/clicks-seen", ""))
	k.same(topic, "name", `"clicks-seen"`)
	k.same(topic, "view_of", `"clicks"`)
	k.same(topic, "pipeline_version", "1")
	k.want(http.StatusNoContent, k.do("DELETE", "/v1/views/clicks-seen", ""))
	k.want(http.StatusNoContent, k.do("DELETE", "/v1/topics/clicks", ""))
}

func conformDerivations(k *kit) {
	for _, name := range []string{"from", "to", "elsewhere"} {
		k.topic(name)
	}
	k.module("for-from", 1)
	const path, stages = "/v1/derivations/moves", `"stages":[{"module":"for-from"}]`
	if got := k.want(http.StatusOK, k.do("GET", "/v1/derivations", ""))["derivations"]; got == nil {
		k.t.Error("a list of derivations is null")
	}
	k.refused(errcode.UnknownTopicOrPartition, k.do("PUT", path, `{"topic":"none","output":"to",`+stages+`}`))
	k.refused(errcode.UnknownTopicOrPartition, k.do("PUT", path, `{"topic":"from","output":"none",`+stages+`}`))
	d := k.want(http.StatusCreated, k.do("PUT", path, `{"topic":"from","output":"to","start_from":"latest",`+stages+`}`))
	k.same(d, "start_from", `"latest"`)
	k.refused(errcode.AlreadyExists, k.do("PUT", path, `{"topic":"from","output":"elsewhere",`+stages+`}`))
	k.refused(errcode.AlreadyExists, k.do("PUT", path, `{"topic":"from","output":"to","start_from":"earliest",`+stages+`}`))
	k.refused(errcode.TopicInUse, k.do("DELETE", "/v1/topics/to", ""))
	got := k.want(http.StatusOK, k.do("GET", path, ""))
	if n := len(got["progress"].([]any)); n != 1 || got["id"] != d["id"] {
		k.t.Errorf("%d partitions' progress of derivation %v, want 1 of %v", n, got["id"], d["id"])
	}
	k.want(http.StatusNoContent, k.do("DELETE", path, ""))
	k.want(http.StatusNoContent, k.do("DELETE", "/v1/topics/to", ""))
}
