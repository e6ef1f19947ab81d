package httpapi

// routes is every call that the server answers. openapi.json lists the same ones.
func routes() []*route {
	const (
		get, post, put, patch, del = "GET", "POST", "PUT", "PATCH", "DELETE"

		topic      = "/v1/topics/{topic}"
		module     = "/v1/modules/{module}"
		view       = "/v1/views/{view}"
		derivation = "/v1/derivations/{derivation}"
	)
	return []*route{
		{method: post, pattern: topic + "/records", handle: (*call).produce},
		{method: get, pattern: topic + "/partitions/{partition}/records", handle: (*call).fetchRecords, waits: true},
		{method: post, pattern: "/v1/fetch", handle: (*call).fetchMany, waits: true},
		{method: post, pattern: "/v1/producers", handle: (*call).newProducer},

		{method: post, pattern: "/v1/topics", handle: (*call).createTopic},
		{method: get, pattern: "/v1/topics", handle: (*call).listTopics},
		{method: get, pattern: topic, handle: (*call).getTopic},
		{method: patch, pattern: topic, handle: (*call).alterTopic},
		{method: del, pattern: topic, handle: (*call).deleteTopic},

		{method: get, pattern: "/v1/modules", handle: (*call).listModules},
		{method: put, pattern: module, handle: (*call).putModule},
		{method: get, pattern: module, handle: (*call).getModule},
		{method: del, pattern: module, handle: (*call).deleteModule},
		{method: get, pattern: module + "/versions", handle: (*call).moduleVersions},
		{method: post, pattern: module + "/dry-run", handle: (*call).dryRun},

		{method: put, pattern: topic + "/pipeline", handle: (*call).putPipeline},
		{method: get, pattern: topic + "/pipeline", handle: (*call).getPipeline},
		{method: del, pattern: topic + "/pipeline", handle: (*call).deletePipeline},
		{method: get, pattern: "/v1/views", handle: (*call).listViews},
		{method: put, pattern: view, handle: (*call).putView},
		{method: get, pattern: view, handle: (*call).getView},
		{method: del, pattern: view, handle: (*call).deleteView},
		{method: get, pattern: "/v1/derivations", handle: (*call).listDerivations},
		{method: put, pattern: derivation, handle: (*call).putDerivation},
		{method: get, pattern: derivation, handle: (*call).getDerivation},
		{method: del, pattern: derivation, handle: (*call).deleteDerivation},

		{method: get, pattern: "/v1/cluster", handle: (*call).cluster},
		{method: get, pattern: "/v1/brokers", handle: (*call).brokers},
		{method: get, pattern: "/healthz", handle: (*call).health, always: true},
		{method: get, pattern: "/readyz", handle: (*call).ready, always: true},
		{method: get, pattern: "/metrics", handle: (*call).metrics, always: true},
		{method: get, pattern: "/openapi.json", handle: (*call).openAPI, always: true},
	}
}
