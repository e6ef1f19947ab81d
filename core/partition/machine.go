package partition

import (
	"bytes"
	"fmt"
	"io"

	"github.com/wasmill/wasmill/core/replica"
)

// maxStateBytes bounds a snapshot that is read back.
const maxStateBytes = 256 << 20

// machine is a partition as its replica drives it. It implements replica.StateMachine.
type machine struct{ p *Partition }

// Apply advances the high watermark over committed entries. An entry that cannot be read is impossible
// here (it was validated before it was proposed and checked by the log when read), so it stops the
// partition rather than being passed over. Readers never see the half of an entry: the bounds are those
// of the last entry that was applied whole.
func (m machine) Apply(entries []replica.Entry) (applied int, err error) {
	p := m.p
	p.stateMu.Lock()
	next, start := p.state.next, p.state.logStart
	for applied < len(entries) {
		e := &entries[applied]
		if err = p.state.apply(e.Data, e.Extensions, e.AppendedAt); err != nil {
			break
		}
		next, start = p.state.next, p.state.logStart
		applied++
	}
	p.stateMu.Unlock()
	p.publish(next, start)
	return applied, err
}

// Snapshot copies the state; the records stay in the log.
func (m machine) Snapshot() (io.WriterTo, error) {
	m.p.stateMu.RLock()
	defer m.p.stateMu.RUnlock()
	return bytes.NewReader(m.p.state.encode()), nil
}

// Restore replaces the state by a snapshot's.
func (m machine) Restore(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxStateBytes+1))
	if err != nil {
		return err
	}
	if len(b) > maxStateBytes {
		return fmt.Errorf("%w: more than %d bytes", ErrState, maxStateBytes)
	}
	s, err := decodeState(b)
	if err != nil {
		return err
	}
	m.p.stateMu.Lock()
	m.p.state = s
	m.p.stateMu.Unlock()
	m.p.publish(s.next, s.logStart)
	return nil
}
