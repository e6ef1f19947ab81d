package wasmill

import "errors"

var errNoTransform = errors.New("wasmill: the module registers no transform: call wasmill.Register in an init function")

// guest runs a transform over batches. It lives as long as the instance and owns every
// buffer that is reused from call to call.
type guest struct {
	transform Transform
	space     space
	batch     Batch
	ready     bool // Init ran and accepted
}

func (g *guest) setUp(t Transform) {
	g.transform = t
	g.batch.output.space = &g.space
	g.batch.output.arena.space = &g.space
}

func (g *guest) fields() Fields {
	if g.transform.Fields == 0 {
		return AllFields
	}
	return g.transform.Fields & AllFields
}

func (g *guest) init(config []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("panic: " + panicText(p))
		}
	}()
	if (g.transform.Record == nil) == (g.transform.Batch == nil) {
		return errNoTransform
	}
	if g.transform.Init != nil {
		if err := g.transform.Init(config); err != nil {
			return err
		}
	}
	g.ready = true
	return nil
}

// process runs the transform over one batch and returns what wasmill_process_v1 returns.
// base is the address of in[0].
func (g *guest) process(in []byte, base uint32) (result uint64) {
	defer func() {
		if p := recover(); p != nil {
			result = g.failed("panic: " + panicText(p))
		}
	}()
	if !g.ready {
		if err := g.init(nil); err != nil {
			return g.failed(err.Error())
		}
	}
	if err := g.run(in, base); err != nil {
		return g.failed(err.Error())
	}
	address, length := g.batch.output.finish()
	return uint64(address)<<32 | uint64(length)
}

func (g *guest) run(in []byte, base uint32) error {
	b := &g.batch
	if err := b.parse(in, base); err != nil {
		return err
	}
	b.output.start(b)
	if g.transform.Batch != nil {
		return g.transform.Batch(b)
	}
	handle := g.transform.Record
	for i := range b.Len() {
		b.record.point(i, b.descriptor(i))
		b.output.begin(&b.record)
		handle(&b.record, &b.output)
	}
	return nil
}

func (g *guest) failed(message string) uint64 {
	address := g.batch.output.arena.copy(octets(message))
	return failedCall | uint64(address)<<32 | uint64(len(message))
}

// panicText says what a panic was about without package fmt, which would double the module.
func panicText(p any) string {
	switch p := p.(type) {
	case error:
		return p.Error()
	case string:
		return p
	default:
		return "a value that is neither a string nor an error"
	}
}
