// Router sends records to a topic per region, named by a header, and keeps the rest. Orders
// from a region that is marked "copy" also stay in the topic that they were produced to.
//
// Configuration: {"header": "region", "prefix": "orders-", "copy": "eu"}
package main

import wasmill "github.com/wasmill/wasmill/sdk/go"

type router struct{ header, prefix, copy string }

func (x *router) init([]byte) error {
	x.header, x.prefix = "region", "region-"
	if v, ok := wasmill.Config("header"); ok {
		x.header = v
	}
	if v, ok := wasmill.Config("prefix"); ok {
		x.prefix = v
	}
	x.copy, _ = wasmill.Config("copy")
	return nil
}

func (x *router) record(r *wasmill.Record, out *wasmill.Output) {
	region, ok := r.Header(x.header)
	if !ok || len(region) == 0 {
		out.Keep()
		return
	}
	if string(region) == x.copy {
		out.Keep()
	}
	out.Route(x.prefix + string(region))
	wasmill.AddMetric("routed", 1)
}

func newRouter() wasmill.Transform {
	x := &router{}
	return wasmill.Transform{Fields: wasmill.FieldHeaders, Init: x.init, Record: x.record}
}

func init() { wasmill.Register(newRouter()) }

func main() {}
