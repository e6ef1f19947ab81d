package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/recordjson"
)

// maxAdminBytes bounds the JSON body of calls that carry no records.
const maxAdminBytes = 1 << 20

// decode reads the request's JSON body into v. Unknown members are refused: a misspelt one would be
// ignored in silence.
func (c *call) decode(v any) error {
	if err := c.wantJSON(); err != nil {
		return err
	}
	b, err := c.readBody(min(maxAdminBytes, c.s.opts.MaxBodyBytes))
	if err != nil {
		return err
	}
	defer b.close()
	return decodeJSON(b.bytes(), v)
}

// wantJSON refuses a body that says it is something else. Saying nothing is taken for JSON.
func (c *call) wantJSON() error {
	t := mediaType(c.http.Request.Header.ContentType())
	if len(t) == 0 || isMedia(t, mediaJSON) {
		return nil
	}
	return errcode.New(errcode.UnsupportedMediaType, "Content-Type is %q; this call takes %s", clip(t), mediaJSON)
}

// decodeJSON is decode for bytes in memory; nothing in v aliases them.
func decodeJSON(body []byte, v any) error {
	if err := recordjson.Check(body); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var mistyped *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mistyped):
		what := "the body"
		if mistyped.Field != "" {
			what = "member " + strconv.Quote(mistyped.Field)
		}
		return recordjson.Fault(body, int(mistyped.Offset), "%s must be %s, not %s", what, jsonKind(mistyped.Type), mistyped.Value)
	}
	return errcode.New(errcode.InvalidJSON, "the body is not what this call takes: %w", err)
}

// jsonKind names what a Go type is in JSON.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonKind(t.Elem()) + " or null"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "an array"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	default:
		return "a whole number within the bounds of an " + t.Kind().String()
	}
}

// answerJSON answers with v as JSON.
func (c *call) answerJSON(status int, v any) error {
	out := c.buffer(0)
	enc := json.NewEncoder((*bufferWriter)(out))
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return errcode.New(errcode.Unknown, "encode answer: %w", err)
	}
	c.answerOut(status, mediaJSON)
	return nil
}

// bufferWriter lets a buffer be written to.
type bufferWriter buffer

var _ io.Writer = (*bufferWriter)(nil)

func (w *bufferWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// noContent answers that it is done and there is nothing to say.
func (c *call) noContent() error {
	c.http.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
