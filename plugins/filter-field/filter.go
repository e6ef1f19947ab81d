package main

import (
	"errors"
	"regexp"
	"strconv"

	"github.com/wasmill/wasmill/sdk/go/jsonscan"
)

type filter struct {
	field   *jsonscan.Path
	lists   [][]string // of "equals" and "in": the value must be in every one
	pattern *regexp.Regexp
	min     *float64
	max     *float64
	exists  *bool
	invert  bool
	reject  bool // what is not JSON

	text []byte // reused for every record
}

func (x *filter) init(config []byte) error {
	if err := jsonscan.Members(config, x.setting); err != nil {
		return err
	}
	if x.field == nil {
		return errors.New(`the configuration needs a "field"`)
	}
	if x.lists == nil && x.pattern == nil && x.min == nil && x.max == nil && x.exists == nil {
		return errors.New(`the configuration needs a test: "equals", "in", "matches", "min", "max" or "exists"`)
	}
	return nil
}

func (x *filter) setting(key string, value []byte) (err error) {
	text := string(jsonscan.AppendText(nil, value))
	kind := jsonscan.KindOf(value)
	switch {
	case key == "field" && kind == jsonscan.String:
		x.field = jsonscan.NewPath(text)
	case key == "equals" && kind != jsonscan.Object && kind != jsonscan.Array:
		x.lists = append(x.lists, []string{text})
	case key == "in" && kind == jsonscan.Array:
		var list []string
		err = jsonscan.Elements(value, func(v []byte) error {
			list = append(list, string(jsonscan.AppendText(nil, v)))
			return nil
		})
		x.lists = append(x.lists, list)
	case key == "matches" && kind == jsonscan.String:
		x.pattern, err = regexp.Compile(text)
	case key == "min" && kind == jsonscan.Number:
		x.min, err = number(text)
	case key == "max" && kind == jsonscan.Number:
		x.max, err = number(text)
	case key == "exists" && kind == jsonscan.Bool:
		there := text == "true"
		x.exists = &there
	case key == "invert" && kind == jsonscan.Bool:
		x.invert = text == "true"
	case key == "on_invalid" && (text == "drop" || text == "reject"):
		x.reject = text == "reject"
	default:
		return errors.New(`unknown key or unusable value: "` + key + `"; see the plugin's documentation`)
	}
	return err
}

// passes reports whether a field's value passes every test; nil is a field that is not there.
func (x *filter) passes(raw []byte) bool {
	if x.exists != nil && *x.exists != (raw != nil) {
		return false
	}
	if x.lists == nil && x.pattern == nil && x.min == nil && x.max == nil {
		return true
	}
	if raw == nil {
		return false
	}
	x.text = jsonscan.AppendText(x.text[:0], raw)
	if !x.listed() {
		return false
	}
	if x.pattern != nil && !x.pattern.Match(x.text) {
		return false
	}
	return x.inRange(raw)
}

func (x *filter) listed() bool {
	for _, list := range x.lists {
		found := false
		for _, v := range list {
			found = found || v == string(x.text)
		}
		if !found {
			return false
		}
	}
	return true
}

func (x *filter) inRange(raw []byte) bool {
	if x.min == nil && x.max == nil {
		return true
	}
	if jsonscan.KindOf(raw) != jsonscan.Number {
		return false
	}
	v, err := number(string(raw))
	if err != nil {
		return false
	}
	return (x.min == nil || *v >= *x.min) && (x.max == nil || *v <= *x.max)
}

func number(text string) (*float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errors.New(text + " is out of the range of numbers")
	}
	return &v, nil
}
