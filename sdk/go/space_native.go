//go:build !wasip1

package wasmill

// space gives out addresses in the guest's memory. Native pointers do not fit in the 32
// bits of the ABI, so regions get made-up addresses here, and view finds them again.
type space struct {
	next    uint32
	regions map[uint32][]byte
}

const (
	spaceStart = 0x40000000
	spaceGap   = 64 // unmapped bytes between regions, so that an overrun is seen
)

func (s *space) place(b []byte) uint32 {
	if s.regions == nil {
		s.regions, s.next = make(map[uint32][]byte), spaceStart
	}
	base := s.next
	s.next += (uint32(len(b)) + spaceGap + 7) &^ 7
	s.regions[base] = b
	return base
}

func (s *space) release(base uint32) { delete(s.regions, base) }

// view returns the n bytes at address, when one region holds them whole.
func (s *space) view(address, n uint32) ([]byte, bool) {
	if n == 0 {
		return nil, true
	}
	for base, b := range s.regions {
		if address >= base && uint64(address-base)+uint64(n) <= uint64(len(b)) {
			return b[address-base : address-base+n], true
		}
	}
	return nil, false
}
