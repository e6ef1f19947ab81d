package metadata

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/wasm/abi"
)

var (
	someTopics  = []string{"a", "b", "c", "a.b", "a_b", "..", ""}
	someModules = []string{"m", "n", "m@1", "n@2", "m@9", "@"}
)

func drawStages(t *rapid.T) []Stage {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Stage {
		return Stage{
			Module:          rapid.SampledFrom(someModules).Draw(t, "module"),
			Config:          rapid.SampledFrom([][]byte{nil, []byte(`{"a": 1}`), []byte(`[1, "<&>"]`), []byte("null")}).Draw(t, "config"),
			OnError:         rapid.SampledFrom([]abi.OnError{"", abi.OnErrorReject, abi.OnErrorSkip, abi.OnErrorDrop, abi.OnErrorDeadLetter}).Draw(t, "on_error"),
			DeadLetterTopic: rapid.SampledFrom([]string{"", "", "c"}).Draw(t, "dead_letter_topic"),
		}
	}), 0, 2).Draw(t, "stages")
}

func drawCommand(t *rapid.T) Command {
	topic := rapid.SampledFrom(someTopics)
	name := rapid.SampledFrom([]string{"v", "w", "a"})
	module := rapid.SampledFrom([]string{"m", "n"})
	expected := func() *uint64 {
		if rapid.Bool().Draw(t, "any") {
			return nil
		}
		return ptr(rapid.Uint64Range(0, 3).Draw(t, "expected"))
	}
	config := rapid.MapOfN(rapid.SampledFrom([]string{"flush", "retention.ms", "retention.bytes", "bad"}),
		rapid.SampledFrom([]string{"fsync", "1000", "-1"}), 0, 2)
	switch rapid.IntRange(0, 12).Draw(t, "command") {
	case 0, 1:
		return CreateTopic{Name: topic.Draw(t, "name"), Partitions: rapid.Int32Range(-1, 4).Draw(t, "partitions"), Config: config.Draw(t, "config")}
	case 2:
		change := map[string]*string{}
		for k, v := range config.Draw(t, "config") {
			change[k] = &v
		}
		return AlterTopic{Name: topic.Draw(t, "name"), Partitions: rapid.Int32Range(0, 6).Draw(t, "partitions"), Config: change}
	case 3:
		return DeleteTopic{Name: topic.Draw(t, "name")}
	case 4, 5:
		return AddModule{Name: module.Draw(t, "name"), SHA256: rapid.SampledFrom([]string{hashA, hashB}).Draw(t, "hash"), Size: 1, ABI: "x", Fields: []string{"value"}}
	case 6:
		return DeleteModule{Name: module.Draw(t, "name"), Version: rapid.IntRange(0, 3).Draw(t, "version")}
	case 7:
		return SetPipeline{Topic: topic.Draw(t, "topic"), Stages: drawStages(t), Expected: expected()}
	case 8:
		return DeletePipeline{Topic: topic.Draw(t, "topic"), Expected: expected()}
	case 9:
		return PutView{Name: name.Draw(t, "name"), Topic: topic.Draw(t, "topic"), Stages: drawStages(t), Expected: expected()}
	case 10:
		return DeleteView{Name: name.Draw(t, "name"), Expected: expected()}
	case 11:
		return PutDerivation{Name: name.Draw(t, "name"), Topic: topic.Draw(t, "topic"), Output: topic.Draw(t, "output"), Stages: drawStages(t), Expected: expected()}
	default:
		return rapid.SampledFrom([]Command{
			AllocateProducerIDs{Count: 3}, SetClusterInfo{ClusterID: "x"}, SetClusterInfo{ClusterID: "y"},
			DeleteDerivation{Name: "v"}, DeleteDerivation{Name: "w", Expected: expected()},
		}).Draw(t, "other")
	}
}

func drawEntries(t *rapid.T) []Entry {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Entry {
		return Entry{At: noon.Add(time.Duration(rapid.IntRange(0, 1<<20).Draw(t, "at")) * time.Microsecond), Command: drawCommand(t)}
	}), 1, 40).Draw(t, "entries")
}

type applyFunc func(*Image, Entry) (*Image, Result, error)

// divergence plays the entries on two replicas, one of which goes through the log's encoding and is
// restored from a snapshot before entry restore, and tells where they part.
func divergence(apply applyFunc, entries []Entry, restore int) error {
	left, right := NewImage(), NewImage()
	for n, e := range entries {
		if n == restore {
			data, err := right.Encode()
			if err != nil {
				return err
			}
			if right, err = DecodeImage(data); err != nil {
				return err
			}
		}
		logged, err := EncodeEntry(e)
		if err != nil {
			return err
		}
		decoded, err := DecodeEntry(logged)
		if err != nil {
			return err
		}
		var leftErr, rightErr error
		left, _, leftErr = apply(left, e)
		right, _, rightErr = apply(right, decoded)
		if fmt.Sprint(leftErr) != fmt.Sprint(rightErr) {
			return fmt.Errorf("entry %d %#v: one replica says %v, the other %v", n, e.Command, leftErr, rightErr)
		}
		a, errA := left.Encode()
		b, errB := right.Encode()
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			return fmt.Errorf("entry %d %#v: replicas differ:\n%s\n%s", n, e.Command, a, b)
		}
	}
	return nil
}

// dangling lists references of an image to what is not there.
func dangling(i *Image) []string {
	var faults []string
	for _, u := range i.users() {
		for _, s := range u.stages {
			if i.Module(s.Module, s.Version) == nil || s.Version == 0 {
				faults = append(faults, u.label+" names "+ModuleRef(s.Module, s.Version))
			}
		}
		for _, topic := range u.topics {
			if i.Topic(topic) == nil {
				faults = append(faults, u.label+" names topic "+topic)
			}
		}
	}
	names := map[string]string{}
	for _, t := range i.Topics() {
		names[collisionKey(t.Name)] += "topic " + t.Name + " "
		if i.TopicByID(t.ID) != t {
			faults = append(faults, "topic "+t.Name+" is not found by its id")
		}
	}
	for _, v := range i.Views() {
		names[collisionKey(v.Name)] += "view " + v.Name + " "
	}
	if len(names) != len(i.topics)+len(i.views) {
		faults = append(faults, fmt.Sprintf("names collide: %v", names))
	}
	return faults
}

func TestReplicasAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := drawEntries(t)
		if err := divergence(Apply, entries, rapid.IntRange(0, len(entries)).Draw(t, "restore")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestImagesAreSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		image := NewImage()
		for _, e := range drawEntries(t) {
			next, result, err := Apply(image, e)
			if err != nil && errcode.From(err).Code == errcode.Unknown {
				t.Fatalf("%#v: a refusal without a code: %v", e.Command, err)
			}
			if faults := dangling(next); faults != nil {
				t.Fatalf("after %#v: %q", e.Command, faults)
			}
			if result.Changed != (next.Version() == image.Version()+1) {
				t.Fatalf("%#v: changed %v, version %d to %d", e.Command, result.Changed, image.Version(), next.Version())
			}
			image = next
		}
	})
}

// bump is Apply, and then adds n to a number of the image.
func bump(i *Image, e Entry, n int64) (*Image, Result, error) {
	next, r, err := Apply(i, e)
	c := *next
	c.nextPID += n
	return &c, r, err
}

// The checker must be able to fail: each of these machines breaks one rule.
func TestBrokenMachinesAreCaught(t *testing.T) {
	var entries []Entry
	for n := range 10 {
		entries = append(entries, Entry{noon, CreateTopic{Name: fmt.Sprintf("t%d", n)}})
	}
	calls := 0
	depth := map[*Image]int{}
	many := map[int64]bool{}
	for n := range int64(100) {
		many[n] = true
	}
	machines := map[string]applyFunc{
		"reads a clock": func(i *Image, e Entry) (*Image, Result, error) {
			calls++ // a clock that ticks
			e.At = e.At.Add(time.Duration(calls) * time.Second)
			return Apply(i, e)
		},
		"refuses for reasons of its own": func(i *Image, e Entry) (*Image, Result, error) {
			if calls++; calls%3 == 0 {
				return i, Result{}, errcode.New(errcode.Overloaded, "busy")
			}
			return Apply(i, e)
		},
		"depends on the order of a map": func(i *Image, e Entry) (*Image, Result, error) {
			for n := range many {
				return bump(i, e, n)
			}
			return Apply(i, e)
		},
		"keeps what no snapshot holds": func(i *Image, e Entry) (*Image, Result, error) {
			var n int64
			if depth[i] == 2 {
				n = 1
			}
			next, r, err := bump(i, e, n)
			depth[next] = depth[i] + 1
			return next, r, err
		},
	}
	for name, apply := range machines {
		if err := divergence(apply, entries, 1); err == nil {
			t.Errorf("a machine that %s is not caught", name)
		}
	}
	if err := divergence(Apply, entries, 1); err != nil {
		t.Errorf("the real machine: %v", err)
	}
}

func TestDanglingIsFound(t *testing.T) {
	image := *world(t)
	image.topics = without(image.topics, "dead")
	image.modules = without(image.modules, "redact")
	image.views = with(image.views, "cl_ean", &View{Name: "clean", Topic: "orders"})
	faults := dangling(&image)
	for _, want := range []string{"pipeline of topic orders names topic dead", "view orders-view names redact@2"} {
		if !slices.Contains(faults, want) {
			t.Errorf("%q is not among %q", want, faults)
		}
	}
	if len(faults) < 4 {
		t.Errorf("only %q", faults)
	}
}
