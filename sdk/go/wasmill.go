// Package wasmill is the guest SDK for transforms written in Go: code that runs inside a
// Wasmill broker and decides, record by record, what is kept, changed, dropped, rejected
// or routed to another topic.
//
// A transform is a main package that registers itself in init and has an empty main:
//
//	package main
//
//	import wasmill "github.com/wasmill/wasmill/sdk/go"
//
//	func init() {
//		wasmill.Register(wasmill.Transform{
//			Fields: wasmill.FieldValue,
//			Record: func(r *wasmill.Record, out *wasmill.Output) {
//				if len(r.Value()) == 0 {
//					out.Reject(1, "the value is empty")
//					return
//				}
//				out.Keep()
//			},
//		})
//	}
//
//	func main() {}
//
// It is built with the standard toolchain:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o name.wasm .
//
// On every other GOOS the package builds too, without the Wasm imports and exports, so
// that a transform can be tested natively: see package wasmilltest.
//
// A guest is single-threaded: the broker runs one call at a time on one instance, and
// goroutines do not run between calls. Records, slices and strings that the SDK hands out
// are valid until the handler returns; what a handler wants to keep it must copy.
package wasmill

// Fields says which parts of a record a transform needs. The broker copies only those
// into the guest, so that a transform on keys costs nothing for large values.
type Fields uint32

// The parts of a record.
const (
	FieldKey Fields = 1 << iota
	FieldValue
	FieldHeaders
	FieldTimestamp

	// AllFields is what a transform gets that declares nothing.
	AllFields = FieldKey | FieldValue | FieldHeaders | FieldTimestamp
)

// Place says where in the broker a batch is being transformed.
type Place uint32

// The places where a pipeline can stand.
const (
	PlaceWrite      Place = 0 // before the records are stored
	PlaceView       Place = 1 // while records are fetched
	PlaceDerivation Place = 2 // from one topic into others, after the commit
)

// Header is one header of a record. A nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// Transform is what a module does. Exactly one of Record and Batch is set.
type Transform struct {
	// Fields that the transform reads. Zero means AllFields. A part that is not asked for
	// reads as nil and is passed on unchanged. A transform that looks at nothing (a
	// sampler, say) asks for FieldTimestamp, which costs nothing.
	Fields Fields

	// Init, when set, runs once before the first batch with the stage's configuration: the
	// text of one JSON object, {} when the stage has none. An error refuses the
	// configuration, and with it the pipeline. config is valid until Init returns. Several
	// instances of a module serve one stage and a failed one is replaced, so what a
	// transform remembers between batches must be no more than a cache.
	Init func(config []byte) error

	// Record is called for every record in order. The calls of out decide about r;
	// a record about which nothing is said is dropped. Expected bad data is refused with
	// out.Reject. A panic fails the call: the broker finds the record that fails and applies
	// the stage's on_error to it alone, which is far slower than Reject.
	Record func(r *Record, out *Output)

	// Batch is called once per batch, for transforms that look at several records at once.
	// An error fails the whole call, as a panic does.
	Batch func(b *Batch) error
}

// registered is the module's transform, set by Register from an init function.
var registered Transform

// Register makes t the module's transform. It is called from an init function, since the
// main function of a Wasm reactor never runs.
func Register(t Transform) { registered = t }

// Registered returns what Register was given, for native tests of a main package.
func Registered() Transform { return registered }
