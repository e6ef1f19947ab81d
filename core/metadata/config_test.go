package metadata

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

func TestTopicConfigDefaults(t *testing.T) {
	c, err := ParseTopicConfig(nil)
	if err != nil || c != DefaultTopicConfig() {
		t.Fatalf("got %+v, %v", c, err)
	}
	want := map[string]string{
		"retention.ms": "604800000", "retention.bytes": "-1", "segment.bytes": "67108864", "max.message.bytes": "1048588",
		"flush": "fsync", "compression.type": "producer", "message.timestamp.type": "CreateTime",
	}
	if got := c.Map(); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v", got)
	}
}

func TestTopicConfigRoundTrip(t *testing.T) {
	set := map[string]string{"retention.ms": "-1", "retention.bytes": "5", "segment.bytes": "65536", "max.message.bytes": "2048", "flush": "relaxed"}
	c, err := ParseTopicConfig(set)
	if err != nil {
		t.Fatal(err)
	}
	if c.Retention != Unlimited || c.RetentionBytes != 5 || c.SegmentBytes != 65536 || c.MaxMessageBytes != 2048 || c.Flush != FlushRelaxed {
		t.Fatalf("got %+v", c)
	}
	back, err := ParseTopicConfig(c.Map())
	if err != nil || back != c {
		t.Fatalf("round trip gave %+v, %v", back, err)
	}
}

func TestTopicConfigTellsEveryFault(t *testing.T) {
	_, err := ParseTopicConfig(map[string]string{
		"retention.ms": "0", "retention.bytes": "many", "segment.bytes": "1", "max.message.bytes": "999999999", "flush": "maybe",
		"compression.type": "zstd", "message.timestamp.type": "LogAppendTime", "retention.hours": "5", strings.Repeat("k", 1000): "v",
	})
	e := errcode.From(err)
	faults, _ := e.Fields["faults"].([]ConfigFault)
	if e.Code != errcode.InvalidConfig || len(faults) != 9 {
		t.Fatalf("got %d faults in %v", len(faults), err)
	}
	for i := 1; i < len(faults); i++ {
		if faults[i-1].Key >= faults[i].Key {
			t.Fatalf("faults are not sorted: %v", faults)
		}
	}
	if len(e.Detail) > 2000 {
		t.Fatalf("detail has %d bytes", len(e.Detail))
	}
}

func TestTopicConfigSuggestsTheNearestKey(t *testing.T) {
	for wrong, want := range map[string]string{
		"retention.m": "did you mean retention.ms?", "retention_ms": "did you mean retention.ms?", "Flush": "did you mean flush?",
		"segment.byte": "did you mean segment.bytes?", "zzz": "the keys are compression.type,",
	} {
		_, err := ParseTopicConfig(map[string]string{wrong: "1"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", wrong, err, want)
		}
	}
}

func TestTopicConfigValidate(t *testing.T) {
	c := DefaultTopicConfig()
	c.Retention, c.MaxMessageBytes = time.Microsecond, 0
	err := c.Validate()
	if e := errcode.From(err); e == nil || len(e.Fields["faults"].([]ConfigFault)) != 2 {
		t.Fatalf("got %v", err)
	}
	if err := DefaultTopicConfig().Validate(); err != nil {
		t.Fatal(err)
	}
}

func FuzzTopicConfig(f *testing.F) {
	for _, k := range configKeys {
		f.Add(k.name, "-1")
		f.Add(k.name, "9223372036854775807")
	}
	f.Add("retention.mss", "1")
	f.Fuzz(func(t *testing.T, key, value string) {
		c, err := ParseTopicConfig(map[string]string{key: value})
		if err != nil {
			return
		}
		if back, err := ParseTopicConfig(c.Map()); err != nil || back != c {
			t.Fatalf("%q = %q: %+v became %+v, %v", key, value, c, back, err)
		}
	})
}
