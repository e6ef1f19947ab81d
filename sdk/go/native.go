//go:build !wasip1

package wasmill

import "sync"

// Host is what a broker offers a guest, for native builds. Nil functions do
// nothing and answer zero.
type Host struct {
	Log       func(level Level, message string)
	Now       func() int64
	Random    func(b []byte)
	AddMetric func(name string, delta int64)
	Config    func(key string) (value string, ok bool)
}

// calling is the host of the instance that is being called: Log, Now and the others are
// plain functions, as in a guest, so native calls of all instances take turns.
var calling struct {
	sync.Mutex
	host Host
}

func enter(h Host) (leave func()) {
	calling.Lock()
	calling.host = h
	return func() {
		calling.host = Host{}
		calling.Unlock()
	}
}

// Instance runs a transform natively, byte for byte as a module does in a broker. Package
// wasmilltest wraps it for tests of transforms. It is safe for concurrent use, though all
// instances of a process take turns.
type Instance struct {
	host  Host
	guest guest
}

// NewInstance returns an instance of t which calls host.
func NewInstance(t Transform, host Host) *Instance {
	i := &Instance{host: host}
	i.guest.setUp(t)
	return i
}

// Fields is what wasmill_fields_v1 returns.
func (i *Instance) Fields() Fields { return i.guest.fields() }

// Init runs the transform's Init, as wasmill_init_v1 does.
func (i *Instance) Init(config []byte) error {
	defer enter(i.host)()
	return i.guest.init(config)
}

// Process runs the transform over one encoded batch and returns what wasmill_process_v1
// returns: address<<32|length of the output. Memory reads it.
func (i *Instance) Process(input []byte, address uint32) uint64 {
	defer enter(i.host)()
	return i.guest.process(input, address)
}

// Memory returns the n bytes at an address that the output of the last call names, other
// than in its input, or false when the guest has no such memory. They are valid until the
// next call.
func (i *Instance) Memory(address, n uint32) ([]byte, bool) {
	return i.guest.space.view(address, n)
}

func hostLog(level int32, message string) {
	if calling.host.Log != nil {
		calling.host.Log(Level(level), message)
	}
}

func hostNow() int64 {
	if calling.host.Now == nil {
		return 0
	}
	return calling.host.Now()
}

func hostRandom(b []byte) {
	if calling.host.Random != nil {
		calling.host.Random(b)
	}
}

func hostMetricAdd(name string, delta int64) {
	if calling.host.AddMetric != nil {
		calling.host.AddMetric(name, delta)
	}
}

func hostConfigGet(key string, buf []byte) int {
	if calling.host.Config == nil {
		return -1
	}
	value, ok := calling.host.Config(key)
	if !ok {
		return -1
	}
	if len(value) <= len(buf) {
		copy(buf, value)
	}
	return len(value)
}
