// Route-by-field sends JSON records to topics by the value of a field.
//
// Configuration:
//
//	{"field": "section", "routes": {"games": "packages-games"}, "copy": false, "default": ""}
//
// A record whose field has one of the values in routes goes to that value's topic; with
// copy it stays in its own topic as well. Everything else, values that are not JSON
// included, stays, or goes to the default topic where there is one. The values of strings
// are compared by their text, those of numbers, true, false and null as they are written.
// The field may lie deeper: "address.city".
package main

import (
	"errors"

	wasmill "github.com/wasmill/wasmill/sdk/go"
	"github.com/wasmill/wasmill/sdk/go/jsonscan"
)

type router struct {
	field    *jsonscan.Path
	routes   map[string]string
	fallback string
	copy     bool
	text     []byte // reused for every record
}

func (x *router) init(config []byte) error {
	if err := jsonscan.Members(config, x.setting); err != nil {
		return err
	}
	if x.field == nil || len(x.routes) == 0 {
		return errors.New(`the configuration needs a "field" and "routes" from values to topics`)
	}
	return nil
}

func (x *router) setting(key string, value []byte) error {
	kind := jsonscan.KindOf(value)
	switch {
	case key == "field" && kind == jsonscan.String:
		x.field = jsonscan.NewPath(string(jsonscan.AppendUnquoted(nil, value)))
	case key == "default" && kind == jsonscan.String:
		x.fallback = string(jsonscan.AppendUnquoted(nil, value))
	case key == "copy" && kind == jsonscan.Bool:
		x.copy = value[0] == 't'
	case key == "routes" && kind == jsonscan.Object:
		x.routes = make(map[string]string)
		return jsonscan.Members(value, func(from string, to []byte) error {
			topic := string(jsonscan.AppendText(nil, to))
			if jsonscan.KindOf(to) != jsonscan.String || topic == "" {
				return errors.New(`the route for "` + from + `" must be the name of a topic`)
			}
			x.routes[from] = topic
			return nil
		})
	default:
		return errors.New(`unknown key or wrong type: "` + key +
			`"; known are "field" (string), "routes" (object), "copy" (true or false) and "default" (string)`)
	}
	return nil
}

func (x *router) record(r *wasmill.Record, out *wasmill.Output) {
	topic := x.topic(r.Value())
	if topic == "" {
		out.Keep()
		return
	}
	if x.copy {
		out.Keep()
	}
	out.Route(topic)
}

// topic is where a value goes; empty when it stays.
func (x *router) topic(value []byte) string {
	raw, err := x.field.Find(value)
	if err != nil || raw == nil {
		return x.fallback
	}
	x.text = jsonscan.AppendText(x.text[:0], raw)
	if topic, ok := x.routes[string(x.text)]; ok {
		return topic
	}
	return x.fallback
}

func newRouter() wasmill.Transform {
	x := &router{}
	return wasmill.Transform{Fields: wasmill.FieldValue, Init: x.init, Record: x.record}
}

func init() { wasmill.Register(newRouter()) }

func main() {}
