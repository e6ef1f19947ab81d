package api

import (
	"encoding/json"
	"time"
)

// Module is one version of an uploaded WebAssembly module.
type Module struct {
	Name      string    `json:"name"`
	Version   int       `json:"version"` // 1, 2, 3 ... per name, never reused
	SHA256    string    `json:"sha256"`  // lower-case hex of the module's bytes
	Size      int64     `json:"size"`    // bytes
	ABI       string    `json:"abi"`     // for example "wasmill-v1"
	Fields    []string  `json:"fields"`  // what the module reads: key, value, headers, timestamp
	CreatedAt time.Time `json:"created_at"`
}

// ModuleList answers GET /v1/modules with the newest version of every module.
type ModuleList struct {
	Modules []Module `json:"modules"`
}

// ModuleVersions answers GET /v1/modules/{module}/versions, oldest first.
type ModuleVersions struct {
	Versions []Module `json:"versions"`
}

// DryRun runs a module on given records and changes nothing: the body of POST
// /v1/modules/{module}/dry-run.
type DryRun struct {
	Topic     string          `json:"topic,omitempty"` // what the module is given as topic; need not exist
	Partition int32           `json:"partition,omitempty"`
	Place     string          `json:"place,omitempty"` // "write" (default) or "view"
	Config    json.RawMessage `json:"config,omitempty"`
	OnError   OnError         `json:"on_error,omitempty"`
	Records   []Record        `json:"records"`
}

// DryRunResult is what would have happened.
type DryRunResult struct {
	Module    string          `json:"module"` // name@version
	Verdicts  []DryRunVerdict `json:"verdicts"`
	ElapsedNS int64           `json:"elapsed_ns"`
}

// DryRunVerdict is the outcome of one record. Outputs are the records that it would become.
type DryRunVerdict struct {
	Index   int            `json:"index"`
	Verdict string         `json:"verdict"` // kept, changed, dropped, rejected, routed
	Code    int            `json:"code,omitempty"`
	Message string         `json:"message,omitempty"`
	Outputs []DryRunOutput `json:"outputs,omitempty"`
}

// DryRunOutput is a record that would be written. The Partition that counts is the output's own, -1
// when the key decides.
type DryRunOutput struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Record
}
