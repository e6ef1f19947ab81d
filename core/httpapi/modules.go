package httpapi

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/recordjson"
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
	m, created, err := c.s.broker.PutModule(c.ctx, name, b.bytes())
	if err != nil {
		return err
	}
	return c.answerJSON(putStatus(created), m)
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
	in := c.newRecords(0)
	defer in.recycle()
	d, err := in.reader.ReadDryRun(b.bytes())
	if err != nil {
		return err
	}
	res, err := c.s.broker.DryRun(c.ctx, name, version, dryRunRequest(&d, in.records))
	if err != nil {
		return err
	}
	out := c.buffer(0)
	out.b = appendDryRun(out.b, res)
	c.answerOut(fasthttp.StatusOK, mediaJSON)
	return nil
}

// dryRunRequest is what a body asks for, as the broker is asked.
func dryRunRequest(d *recordjson.DryRun, records []broker.InputRecord) broker.DryRunRequest {
	req := broker.DryRunRequest{
		Topic: d.Topic, Partition: d.Partition, Place: d.Place, Config: d.Config, OnError: api.OnError(d.OnError),
		Records: make([]record.Record, len(records)),
	}
	for i := range records {
		req.Records[i] = records[i].Record
	}
	return req
}

// appendDryRun appends the verdicts; the records in them look as they do in a fetch.
func appendDryRun(dst []byte, res *broker.DryRunResult) []byte {
	dst = append(dst, `{"module":`...)
	dst = recordjson.AppendString(dst, res.Module)
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
	dst = recordjson.AppendString(dst, v.Verdict)
	if v.Code != 0 {
		dst = append(dst, `,"code":`...)
		dst = strconv.AppendInt(dst, int64(v.Code), 10)
	}
	if v.Message != "" {
		dst = append(dst, `,"message":`...)
		dst = recordjson.AppendString(dst, v.Message)
	}
	if len(v.Outputs) > 0 {
		dst = append(dst, `,"outputs":[`...)
		for i := range v.Outputs {
			o := &v.Outputs[i]
			dst = comma(dst, i)
			dst = append(dst, `{"topic":`...)
			dst = recordjson.AppendString(dst, o.Topic)
			dst = append(dst, `,"partition":`...)
			dst = strconv.AppendInt(dst, int64(o.Partition), 10)
			dst = append(dst, ',')
			dst = recordjson.AppendContents(dst, &o.Record)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
