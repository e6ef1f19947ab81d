package httpapi

import (
	"encoding/json"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// putModule uploads a module. Uploading the bytes of the newest version again changes nothing.
func (c *call) putModule() error {
	name := c.param(0)
	t := mediaType(c.http.Request.Header.ContentType())
	if len(t) > 0 && !isMedia(t, mediaWasm) && !isMedia(t, mediaOctets) {
		return errcode.New(errcode.UnsupportedMediaType, "Content-Type is %q; a module is %s", clip(t), mediaWasm)
	}
	b, err := c.readBody(c.s.opts.MaxModuleBytes)
	if err != nil {
		return err
	}
	defer b.close()
	before := 0
	if m, err := c.s.broker.Module(c.ctx, name, 0); err == nil {
		before = m.Version
	}
	m, err := c.s.broker.PutModule(c.ctx, name, b.bytes())
	if err != nil {
		return err
	}
	status := fasthttp.StatusOK
	if m.Version > before {
		status = fasthttp.StatusCreated
	}
	return c.answerJSON(status, m)
}

func (c *call) listModules() error {
	modules, err := c.s.broker.Modules(c.ctx)
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, api.ModuleList{Modules: orEmpty(modules)})
}

// moduleForms is what getModule can answer in.
var moduleForms = []string{mediaJSON, mediaWasm}

// getModule describes a module, or gives its bytes to those who ask for application/wasm.
func (c *call) getModule() error {
	name := c.param(0)
	version, err := c.version()
	if err != nil {
		return err
	}
	form, err := negotiate(c.http.Request.Header.Peek(fasthttp.HeaderAccept), moduleForms)
	if err != nil {
		return err
	}
	if form == mediaWasm {
		wasm, err := c.s.broker.ModuleBytes(c.ctx, name, version)
		if err != nil {
			return err
		}
		if err := c.hold(len(wasm)); err != nil {
			return err
		}
		c.answerRaw(fasthttp.StatusOK, mediaWasm, wasm)
		return nil
	}
	m, err := c.s.broker.Module(c.ctx, name, version)
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, m)
}

func (c *call) moduleVersions() error {
	versions, err := c.s.broker.ModuleVersions(c.ctx, c.param(0))
	if err != nil {
		return err
	}
	return c.answerJSON(fasthttp.StatusOK, api.ModuleVersions{Versions: orEmpty(versions)})
}

func (c *call) deleteModule() error {
	version, err := c.version()
	if err != nil {
		return err
	}
	if err := c.s.broker.DeleteModule(c.ctx, c.param(0), version); err != nil {
		return err
	}
	return c.noContent()
}

// version is the query's version, 0 without one.
func (c *call) version() (int, error) {
	args := c.http.QueryArgs()
	for k := range args.All() {
		if string(k) != "version" {
			return 0, unknownParameter(k, "version")
		}
	}
	v := args.Peek("version")
	if v == nil {
		return 0, nil
	}
	n, err := strconv.ParseUint(string(v), 10, 31)
	if err != nil || n == 0 {
		return 0, errcode.New(errcode.InvalidRequest, "version is %q; it must be a number from 1 on", clip(v))
	}
	return int(n), nil
}

// dryRun runs a module on the body's records and changes nothing.
func (c *call) dryRun() error {
	name := c.param(0)
	version, err := c.version()
	if err != nil {
		return err
	}
	if err := c.wantJSON(); err != nil {
		return err
	}
	b, err := c.readBody(c.s.opts.MaxBodyBytes)
	if err != nil {
		return err
	}
	defer b.close()
	r := recordReaders.Get().(*recordReader)
	defer r.recycle()
	r.max, r.partition, r.now = c.s.opts.MaxRecords, 0, c.s.opts.Now().UnixMilli()
	req, err := r.readDryRun(b.bytes())
	if err != nil {
		return asProblem(err)
	}
	res, err := c.s.broker.DryRun(c.ctx, name, version, req)
	if err != nil {
		return err
	}
	out := c.buffer(0)
	out.b = appendDryRun(out.b, res)
	c.answerOut(fasthttp.StatusOK, mediaJSON)
	return nil
}

// readDryRun reads {"topic","partition","place","config","on_error","records"}.
func (r *recordReader) readDryRun(body []byte) (broker.DryRunRequest, error) {
	req := broker.DryRunRequest{Place: "write"}
	r.scanner = newScanner(body)
	err := r.object("an object", func(name []byte, at int) (err error) {
		switch string(name) {
		case "topic":
			req.Topic, err = r.stringOrNull()
		case "partition":
			req.Partition, err = r.partitionNumber()
		case "place":
			req.Place, err = r.stringOrNull()
		case "on_error":
			var policy string
			policy, err = r.stringOrNull()
			req.OnError = api.OnError(policy)
		case "config":
			if !r.null() {
				var config []byte
				config, err = r.value(nil)
				req.Config = json.RawMessage(config)
			}
		case "records":
			err = r.list()
		default:
			err = r.errorAt(at, "unknown member %q; the body has topic, partition, place, config, on_error and records", clip(name))
		}
		return err
	})
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return req, err
	}
	if req.Place == "" {
		req.Place = "write"
	}
	req.Records = make([]record.Record, len(r.records))
	for i := range r.records {
		req.Records[i] = r.records[i].Record
	}
	return req, nil
}

func (r *recordReader) stringOrNull() (string, error) {
	if r.null() {
		return "", nil
	}
	text, err := r.text()
	return string(text), err
}

// appendDryRun appends the verdicts; the records in them look as they do in a fetch.
func appendDryRun(dst []byte, res *broker.DryRunResult) []byte {
	dst = append(dst, `{"module":`...)
	dst = appendLoose(dst, res.Module)
	dst = append(dst, `,"elapsed_ns":`...)
	dst = strconv.AppendInt(dst, int64(res.Elapsed), 10)
	dst = append(dst, `,"verdicts":[`...)
	for i := range res.Verdicts {
		dst = comma(dst, i)
		dst = appendVerdict(dst, &res.Verdicts[i])
	}
	return append(dst, "]}"...)
}

func appendVerdict(dst []byte, v *broker.DryRunVerdict) []byte {
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendInt(dst, int64(v.Index), 10)
	dst = append(dst, `,"verdict":`...)
	dst = appendLoose(dst, v.Verdict)
	if v.Code != 0 {
		dst = append(dst, `,"code":`...)
		dst = strconv.AppendInt(dst, int64(v.Code), 10)
	}
	if v.Message != "" {
		dst = append(dst, `,"message":`...)
		dst = appendLoose(dst, v.Message)
	}
	if len(v.Outputs) > 0 {
		dst = append(dst, `,"outputs":[`...)
		for i := range v.Outputs {
			o := &v.Outputs[i]
			dst = comma(dst, i)
			dst = append(dst, `{"topic":`...)
			dst = appendLoose(dst, o.Topic)
			dst = append(dst, `,"partition":`...)
			dst = strconv.AppendInt(dst, int64(o.Partition), 10)
			dst = append(dst, ',')
			dst = appendContents(dst, &o.Record)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
