package metadata

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/wasm/abi"
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hashA = strings.Repeat("a", 64)
	hashB = strings.Repeat("b", 64)
)

func ptr[T any](v T) *T { return &v }

func stage(module string) []Stage { return []Stage{{Module: module}} }

// build applies commands that must all succeed.
func build(t testing.TB, commands ...Command) *Image {
	t.Helper()
	image := NewImage()
	for _, c := range commands {
		next, _, err := Apply(image, Entry{noon, c})
		if err != nil {
			t.Fatalf("%#v: %v", c, err)
		}
		image = next
	}
	return image
}

// world is an image with one of everything.
func world(t testing.TB) *Image {
	return build(t, worldCommands()...)
}

func worldCommands() []Command {
	return []Command{
		SetClusterInfo{ClusterID: "c1"},
		CreateTopic{Name: "orders", Partitions: 3, Config: map[string]string{"retention.ms": "60000", "flush": "relaxed"}},
		CreateTopic{Name: "clean"},
		CreateTopic{Name: "dead"},
		AddModule{Name: "redact", SHA256: hashA, Size: 10, ABI: "wasmill-v1", Fields: []string{"value", "key", "value"}},
		AddModule{Name: "redact", SHA256: hashB, Size: 11, ABI: "wasmill-v1"},
		AddModule{Name: "spare", SHA256: hashA, Size: 10, ABI: "wasmill-v1"},
		SetPipeline{Topic: "orders", Stages: []Stage{
			{Module: "redact@1", Config: []byte(` { "pattern" : "<x>" } `), OnError: abi.OnErrorDeadLetter, DeadLetterTopic: "dead", Limits: StageLimits{MemoryBytes: 1 << 20}},
			{Module: "redact"},
		}},
		PutView{Name: "orders-view", Topic: "orders", Stages: stage("redact")},
		PutDerivation{Name: "copy", Topic: "orders", Output: "clean", StartFrom: StartLatest, Stages: stage("redact@2")},
		AllocateProducerIDs{Count: 1000},
	}
}

// commandTest applies one command to a world. With refused the image must stay; else the command must
// be carried out, changing something unless same says otherwise.
type commandTest struct {
	name    string
	command Command
	refused errcode.Code
	same    bool
	check   func(*Image, Result) bool // nil: nothing more to check
}

func runCommandTests(t *testing.T, tests []commandTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := world(t)
			beforeBytes := encode(t, before)
			after, result, err := Apply(before, Entry{noon, tt.command})
			if string(beforeBytes) != string(encode(t, before)) {
				t.Fatal("the old image changed")
			}
			if tt.refused != 0 {
				var e *errcode.Error
				if !errors.As(err, &e) || e.Code != tt.refused || after != before {
					t.Fatalf("got %v, want %v and the same image", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if result.Changed == tt.same || (after == before) != tt.same || result.Version != after.Version() {
				t.Fatalf("changed %v, want %v; version %d, image %d", result.Changed, !tt.same, result.Version, after.Version())
			}
			if tt.check != nil && !tt.check(after, result) {
				t.Fatalf("result %+v does not fit image %s", result, encode(t, after))
			}
		})
	}
}

func TestTopicCommands(t *testing.T) {
	runCommandTests(t, []commandTest{
		{name: "create topic", command: CreateTopic{Name: "new"}, check: func(i *Image, r Result) bool {
			topic := i.Topic("new")
			return r.Created && r.Topic == topic && topic.ID == 4 && topic.Partitions == 1 && topic.Replication == 1 &&
				topic.CreatedAt.Equal(noon) && i.TopicByID(4) == topic && len(i.Topics()) == 4
		}},
		{name: "create topic twice", command: CreateTopic{Name: "orders"}, refused: errcode.TopicAlreadyExists},
		{name: "create topic named as a view", command: CreateTopic{Name: "orders-view"}, refused: errcode.TopicAlreadyExists},
		{name: "create topic with bad name", command: CreateTopic{Name: "a b"}, refused: errcode.InvalidTopic},
		{name: "create topic with too many partitions", command: CreateTopic{Name: "x", Partitions: MaxPartitions + 1}, refused: errcode.InvalidPartitions},
		{name: "create topic with negative partitions", command: CreateTopic{Name: "x", Partitions: -1}, refused: errcode.InvalidPartitions},
		{name: "create topic with copies that cannot be", command: CreateTopic{Name: "x", Replication: 3}, refused: errcode.InvalidReplicationFactor},
		{name: "create topic with bad config", command: CreateTopic{Name: "x", Config: map[string]string{"flush": "no"}}, refused: errcode.InvalidConfig},

		{name: "alter topic", command: AlterTopic{Name: "orders", Partitions: 5, Config: map[string]*string{"flush": nil, "retention.bytes": ptr("7")}},
			check: func(i *Image, r Result) bool {
				topic := i.Topic("orders")
				return topic.Partitions == 5 && reflect.DeepEqual(topic.Config, map[string]string{"retention.ms": "60000", "retention.bytes": "7"}) &&
					i.TopicByID(1) == topic && r.Topic == topic
			}},
		{name: "alter topic to what it is", command: AlterTopic{Name: "orders", Partitions: 3, Config: map[string]*string{"flush": ptr("relaxed")}}, same: true},
		{name: "alter topic down", command: AlterTopic{Name: "orders", Partitions: 2}, refused: errcode.InvalidPartitions},
		{name: "alter no topic", command: AlterTopic{Name: "none"}, refused: errcode.UnknownTopicOrPartition},
		{name: "alter view", command: AlterTopic{Name: "orders-view"}, refused: errcode.ViewReadOnly},
		{name: "alter topic to bad config", command: AlterTopic{Name: "orders", Config: map[string]*string{"x": ptr("1")}}, refused: errcode.InvalidConfig},

		{name: "delete topic in use", command: DeleteTopic{Name: "orders"}, refused: errcode.TopicInUse},
		{name: "delete dead-letter topic in use", command: DeleteTopic{Name: "dead"}, refused: errcode.TopicInUse},
		{name: "delete output topic in use", command: DeleteTopic{Name: "clean"}, refused: errcode.TopicInUse},
		{name: "delete no topic", command: DeleteTopic{Name: "none"}, refused: errcode.UnknownTopicOrPartition},
	})
}

func TestModuleCommands(t *testing.T) {
	runCommandTests(t, []commandTest{
		{name: "add module version", command: AddModule{Name: "redact", SHA256: hashA, Size: 1, ABI: "x"}, check: func(i *Image, r Result) bool {
			return r.Created && r.Module.Version == 3 && i.Module("redact", 0) == r.Module && len(i.ModuleVersions("redact")) == 3
		}},
		{name: "add the newest module again", command: AddModule{Name: "redact", SHA256: hashB, Size: 11, ABI: "wasmill-v1"}, same: true,
			check: func(_ *Image, r Result) bool { return r.Module.Version == 2 && !r.Created }},
		{name: "add module with bad name", command: AddModule{Name: "a@1", SHA256: hashA, Size: 1, ABI: "x"}, refused: errcode.InvalidModule},
		{name: "add module with bad hash", command: AddModule{Name: "a", SHA256: strings.Repeat("A", 64), Size: 1, ABI: "x"}, refused: errcode.InvalidModule},
		{name: "add empty module", command: AddModule{Name: "a", SHA256: hashA, ABI: "x"}, refused: errcode.InvalidModule},
		{name: "add module without ABI", command: AddModule{Name: "a", SHA256: hashA, Size: 1}, refused: errcode.InvalidModule},
		{name: "add module with unknown field", command: AddModule{Name: "a", SHA256: hashA, Size: 1, ABI: "x", Fields: []string{"soul"}}, refused: errcode.InvalidModule},

		{name: "delete module", command: DeleteModule{Name: "spare"}, check: func(i *Image, _ Result) bool {
			return i.Module("spare", 0) == nil && i.HasHash(hashA)
		}},
		{name: "delete module version in use", command: DeleteModule{Name: "redact", Version: 1}, refused: errcode.ModuleInUse},
		{name: "delete module in use", command: DeleteModule{Name: "redact"}, refused: errcode.ModuleInUse},
		{name: "delete no module", command: DeleteModule{Name: "none"}, refused: errcode.UnknownModule},
		{name: "delete no version", command: DeleteModule{Name: "redact", Version: 9}, refused: errcode.UnknownModule},
	})
}

func TestPipelineCommands(t *testing.T) {
	runCommandTests(t, []commandTest{
		{name: "set first pipeline", command: SetPipeline{Topic: "clean", Stages: stage("redact"), Expected: ptr(uint64(0))}, check: func(i *Image, r Result) bool {
			s := i.Pipeline("clean").Stages[0]
			return r.Created && r.Pipeline.Version == 1 && s.Module == "redact" && s.Version == 2 && s.OnError == abi.OnErrorReject && s.Config == nil
		}},
		{name: "replace pipeline", command: SetPipeline{Topic: "orders", Stages: stage("redact@1"), Expected: ptr(uint64(1))}, check: func(i *Image, r Result) bool {
			return !r.Created && r.Pipeline.Version == 2 && i.Pipeline("orders").Stages[0].Version == 1
		}},
		{name: "set pipeline to what it is", command: worldCommands()[7], same: true},
		{name: "set pipeline past another change", command: SetPipeline{Topic: "orders", Stages: stage("redact"), Expected: ptr(uint64(0))}, refused: errcode.VersionConflict},
		{name: "set pipeline of no topic", command: SetPipeline{Topic: "none", Stages: stage("redact")}, refused: errcode.UnknownTopicOrPartition},
		{name: "set pipeline of a view", command: SetPipeline{Topic: "orders-view", Stages: stage("redact")}, refused: errcode.ViewReadOnly},
		{name: "set empty pipeline", command: SetPipeline{Topic: "orders"}, refused: errcode.InvalidPipeline},
		{name: "delete pipeline", command: DeletePipeline{Topic: "orders"}, check: func(i *Image, _ Result) bool { return i.Pipeline("orders") == nil }},
		{name: "delete pipeline past another change", command: DeletePipeline{Topic: "orders", Expected: ptr(uint64(7))}, refused: errcode.VersionConflict},
		{name: "delete no pipeline", command: DeletePipeline{Topic: "clean"}, refused: errcode.NotFound},
		{name: "delete pipeline of no topic", command: DeletePipeline{Topic: "none"}, refused: errcode.UnknownTopicOrPartition},
	})
}

func TestViewCommands(t *testing.T) {
	runCommandTests(t, []commandTest{
		{name: "put view", command: PutView{Name: "v", Topic: "clean", Stages: stage("redact@1")}, check: func(i *Image, r Result) bool {
			return r.Created && i.View("v").Stages[0].OnError == abi.OnErrorDrop && r.View.Version == 1
		}},
		{name: "replace view", command: PutView{Name: "orders-view", Topic: "clean", Stages: stage("redact")}, check: func(i *Image, r Result) bool {
			return !r.Created && i.View("orders-view").Topic == "clean" && r.View.Version == 2
		}},
		{name: "put view as it is", command: PutView{Name: "orders-view", Topic: "orders", Stages: stage("redact")}, same: true},
		{name: "put view named as a topic", command: PutView{Name: "clean", Topic: "orders", Stages: stage("redact")}, refused: errcode.TopicAlreadyExists},
		{name: "put view of a view", command: PutView{Name: "v", Topic: "orders-view", Stages: stage("redact")}, refused: errcode.ViewReadOnly},
		{name: "put view that may reject", command: PutView{Name: "v", Topic: "orders", Stages: []Stage{{Module: "redact", OnError: abi.OnErrorReject}}}, refused: errcode.InvalidPipeline},
		{name: "put view of no topic", command: PutView{Name: "v", Topic: "none", Stages: stage("redact")}, refused: errcode.UnknownTopicOrPartition},
		{name: "put first view", command: PutView{Name: "v", Topic: "clean", Stages: stage("redact"), Expected: ptr(uint64(0))}, check: func(_ *Image, r Result) bool { return r.Created }},
		{name: "replace view of a version", command: PutView{Name: "orders-view", Topic: "clean", Stages: stage("redact"), Expected: ptr(uint64(1))}, check: func(_ *Image, r Result) bool { return r.View.Version == 2 }},
		{name: "put view past another change", command: PutView{Name: "orders-view", Topic: "clean", Stages: stage("redact"), Expected: ptr(uint64(0))}, refused: errcode.VersionConflict},
		{name: "put view as it is past another change", command: PutView{Name: "orders-view", Topic: "orders", Stages: stage("redact"), Expected: ptr(uint64(7))}, refused: errcode.VersionConflict},
		{name: "delete view past another change", command: DeleteView{Name: "orders-view", Expected: ptr(uint64(7))}, refused: errcode.VersionConflict},
		{name: "delete view of a version that is gone", command: DeleteView{Name: "none", Expected: ptr(uint64(1))}, refused: errcode.VersionConflict},
		{name: "delete view", command: DeleteView{Name: "orders-view"}, check: func(i *Image, _ Result) bool { return i.View("orders-view") == nil }},
		{name: "delete no view", command: DeleteView{Name: "orders"}, refused: errcode.UnknownView},
	})
}

func TestDerivationCommands(t *testing.T) {
	runCommandTests(t, []commandTest{
		{name: "put derivation", command: PutDerivation{Name: "d", Topic: "clean", Output: "dead", Stages: stage("redact")}, check: func(i *Image, r Result) bool {
			return r.Created && i.Derivation("d").ID == 2 && r.Derivation.StartFrom == StartEarliest && r.Derivation.Stages[0].OnError == abi.OnErrorDrop
		}},
		{name: "replace derivation", command: PutDerivation{Name: "copy", Topic: "orders", Output: "clean", Stages: stage("redact@1")}, check: func(i *Image, r Result) bool {
			return !r.Created && r.Derivation.ID == 1 && r.Derivation.Version == 2 && r.Derivation.StartFrom == StartLatest
		}},
		{name: "put derivation as it is", command: worldCommands()[9], same: true},
		{name: "move derivation", command: PutDerivation{Name: "copy", Topic: "orders", Output: "dead", Stages: stage("redact")}, refused: errcode.AlreadyExists},
		{name: "restart derivation", command: PutDerivation{Name: "copy", Topic: "orders", Output: "clean", StartFrom: StartEarliest, Stages: stage("redact")}, refused: errcode.AlreadyExists},
		{name: "put derivation from nowhere", command: PutDerivation{Name: "d", Topic: "clean", Output: "dead", StartFrom: "moon", Stages: stage("redact")}, refused: errcode.InvalidRequest},
		{name: "put derivation into itself", command: PutDerivation{Name: "d", Topic: "clean", Output: "clean", Stages: stage("redact")}, refused: errcode.InvalidPipeline},
		{name: "put derivation in a ring", command: PutDerivation{Name: "d", Topic: "clean", Output: "orders", Stages: stage("redact")}, refused: errcode.InvalidPipeline},
		{name: "put derivation of a view", command: PutDerivation{Name: "d", Topic: "orders-view", Output: "dead", Stages: stage("redact")}, refused: errcode.ViewReadOnly},
		{name: "put derivation into no topic", command: PutDerivation{Name: "d", Topic: "clean", Output: "none", Stages: stage("redact")}, refused: errcode.UnknownTopicOrPartition},
		{name: "put derivation with bad name", command: PutDerivation{Name: "", Topic: "clean", Output: "dead", Stages: stage("redact")}, refused: errcode.InvalidRequest},
		{name: "put first derivation", command: PutDerivation{Name: "d", Topic: "clean", Output: "dead", Stages: stage("redact"), Expected: ptr(uint64(0))}, check: func(_ *Image, r Result) bool { return r.Created }},
		{name: "put derivation past another change", command: PutDerivation{Name: "copy", Topic: "orders", Output: "clean", Stages: stage("redact@1"), Expected: ptr(uint64(0))}, refused: errcode.VersionConflict},
		{name: "delete derivation past another change", command: DeleteDerivation{Name: "copy", Expected: ptr(uint64(7))}, refused: errcode.VersionConflict},
		{name: "delete derivation of a version", command: DeleteDerivation{Name: "copy", Expected: ptr(uint64(1))}, check: func(i *Image, _ Result) bool { return i.Derivation("copy") == nil }},
		{name: "delete derivation", command: DeleteDerivation{Name: "copy"}, check: func(i *Image, _ Result) bool { return i.Derivation("copy") == nil }},
		{name: "delete no derivation", command: DeleteDerivation{Name: "none"}, refused: errcode.UnknownDerivation},
	})
}

func TestOtherCommands(t *testing.T) {
	runCommandTests(t, []commandTest{
		{name: "allocate producer ids", command: AllocateProducerIDs{Count: 10}, check: func(_ *Image, r Result) bool { return r.FirstProducerID == 1000 && r.ProducerIDs == 10 }},
		{name: "allocate no producer ids", command: AllocateProducerIDs{}, refused: errcode.InvalidRequest},
		{name: "allocate too many producer ids", command: AllocateProducerIDs{Count: MaxProducerIDBlock + 1}, refused: errcode.InvalidRequest},
		{name: "same cluster info", command: SetClusterInfo{ClusterID: "c1"}, same: true},
		{name: "other cluster info", command: SetClusterInfo{ClusterID: "c2"}, refused: errcode.AlreadyExists},
		{name: "no command", command: nil, refused: errcode.InvalidRequest},
	})
}

func TestRefusalNamesWhoUsesIt(t *testing.T) {
	tests := []struct {
		command Command
		want    []string
	}{
		{DeleteTopic{Name: "orders"}, []string{"view orders-view", "derivation copy"}},
		{DeleteTopic{Name: "dead"}, []string{"pipeline of topic orders"}},
		{DeleteModule{Name: "redact", Version: 1}, []string{"pipeline of topic orders"}},
		{DeleteModule{Name: "redact"}, []string{"pipeline of topic orders", "view orders-view", "derivation copy"}},
	}
	for _, tt := range tests {
		_, _, err := Apply(world(t), Entry{noon, tt.command})
		e := errcode.From(err)
		if got, _ := e.Fields["used_by"].([]string); !slices.Equal(got, tt.want) || !strings.Contains(e.Detail, tt.want[0]) {
			t.Errorf("%#v: used_by %q in %q, want %q", tt.command, got, e.Detail, tt.want)
		}
	}
}

// A name and a version mean one thing for good, also after everything under the name was deleted.
func TestVersionsAreNeverReused(t *testing.T) {
	image := build(t,
		CreateTopic{Name: "a"}, CreateTopic{Name: "b"},
		AddModule{Name: "m", SHA256: hashA, Size: 1, ABI: "x"},
		SetPipeline{Topic: "a", Stages: stage("m")}, PutView{Name: "v", Topic: "a", Stages: stage("m")},
		PutDerivation{Name: "d", Topic: "a", Output: "b", Stages: stage("m")},
		DeleteView{Name: "v"}, DeleteDerivation{Name: "d"}, DeleteTopic{Name: "a"}, DeleteModule{Name: "m"},
		CreateTopic{Name: "a"}, AddModule{Name: "m", SHA256: hashA, Size: 1, ABI: "x"},
		SetPipeline{Topic: "a", Stages: stage("m")}, PutView{Name: "v", Topic: "a", Stages: stage("m")},
		PutDerivation{Name: "d", Topic: "a", Output: "b", Stages: stage("m")},
	)
	d := image.Derivation("d")
	if image.Topic("a").ID != 3 || image.Module("m", 0).Version != 2 || image.Pipeline("a").Version != 2 ||
		image.View("v").Version != 2 || d.Version != 2 || d.ID != 2 {
		t.Fatalf("something was used twice: %s", encode(t, image))
	}
}

func TestDeleteTopicTakesItsPipelineAlong(t *testing.T) {
	image := build(t, CreateTopic{Name: "a"}, AddModule{Name: "m", SHA256: hashA, Size: 1, ABI: "x"},
		SetPipeline{Topic: "a", Stages: stage("m")}, DeleteTopic{Name: "a"}, DeleteModule{Name: "m"})
	if len(image.Topics())+len(image.Pipelines())+len(image.Modules()) != 0 {
		t.Fatalf("something is left: %s", encode(t, image))
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("n", abi.MaxNameBytes)
	for _, ok := range []string{"a", "A-1._", "...", long} {
		if err := CheckName(errcode.InvalidTopic, "topic", ok); err != nil {
			t.Errorf("%q is refused: %v", ok, err)
		}
	}
	for _, bad := range []string{"", ".", "..", long + "n", "a/b", "a b", "ä", "a@1", "a\x00"} {
		if err := CheckName(errcode.InvalidTopic, "topic", bad); !errcode.Is(err, errcode.InvalidTopic) {
			t.Errorf("%q is taken: %v", bad, err)
		}
	}
}

func TestNamesCollideAsInKafka(t *testing.T) {
	image := build(t, CreateTopic{Name: "a.b_c"})
	for name, collides := range map[string]bool{"a_b.c": true, "a.b.c": true, "a-b_c": false, "ab_c": false} {
		_, _, err := Apply(image, Entry{noon, CreateTopic{Name: name}})
		if errcode.Is(err, errcode.InvalidTopic) != collides {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestModuleRef(t *testing.T) {
	name, version, err := ParseModuleRef("redact@12")
	if name != "redact" || version != 12 || err != nil || ModuleRef(name, version) != "redact@12" {
		t.Fatal(name, version, err)
	}
	if name, version, err = ParseModuleRef("redact"); name != "redact" || version != 0 || err != nil {
		t.Fatal(name, version, err)
	}
	for _, bad := range []string{"", "@1", "a@", "a@0", "a@-1", "a@x", "a@1@2", "a@99999999999", "a b@1"} {
		if _, _, err := ParseModuleRef(bad); !errcode.Is(err, errcode.UnknownModule) {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestResolveStages(t *testing.T) {
	image := world(t)
	big := []byte(`"` + strings.Repeat("x", abi.MaxWrittenConfigBytes) + `"`)
	tests := []struct {
		name  string
		place abi.Place
		stage Stage
		want  errcode.Code
	}{
		{"unknown module", abi.PlaceWrite, Stage{Module: "none"}, errcode.UnknownModule},
		{"unknown version", abi.PlaceWrite, Stage{Module: "redact@7"}, errcode.UnknownModule},
		{"two versions", abi.PlaceWrite, Stage{Module: "redact@1", Version: 2}, errcode.InvalidPipeline},
		{"broken config", abi.PlaceWrite, Stage{Module: "redact", Config: []byte(`{`)}, errcode.InvalidPipeline},
		{"config that is not UTF-8", abi.PlaceWrite, Stage{Module: "redact", Config: []byte("\"\xff\"")}, errcode.InvalidPipeline},
		{"huge config", abi.PlaceWrite, Stage{Module: "redact", Config: big}, errcode.InvalidPipeline},
		{"config that white space makes huge", abi.PlaceWrite, Stage{Module: "redact", Config: append(bytes.Repeat([]byte{' '}, abi.MaxWrittenConfigBytes), "{}"...)}, errcode.InvalidPipeline},
		{"tiny memory", abi.PlaceWrite, Stage{Module: "redact", Limits: StageLimits{MemoryBytes: 1}}, errcode.InvalidPipeline},
		{"negative memory", abi.PlaceWrite, Stage{Module: "redact", Limits: StageLimits{MemoryBytes: -1}}, errcode.InvalidPipeline},
		{"unknown policy", abi.PlaceWrite, Stage{Module: "redact", OnError: "pray"}, errcode.InvalidPipeline},
		{"dead letter without topic", abi.PlaceWrite, Stage{Module: "redact", OnError: abi.OnErrorDeadLetter}, errcode.InvalidPipeline},
		{"dead letter into itself", abi.PlaceWrite, Stage{Module: "redact", OnError: abi.OnErrorDeadLetter, DeadLetterTopic: "orders"}, errcode.InvalidPipeline},
		{"dead letter into a view", abi.PlaceWrite, Stage{Module: "redact", OnError: abi.OnErrorDeadLetter, DeadLetterTopic: "orders-view"}, errcode.ViewReadOnly},
		{"dead letter into nothing", abi.PlaceWrite, Stage{Module: "redact", OnError: abi.OnErrorDeadLetter, DeadLetterTopic: "none"}, errcode.UnknownTopicOrPartition},
		{"dead letter in a view", abi.PlaceView, Stage{Module: "redact", OnError: abi.OnErrorDeadLetter, DeadLetterTopic: "dead"}, errcode.InvalidPipeline},
		{"topic without dead letter", abi.PlaceWrite, Stage{Module: "redact", DeadLetterTopic: "dead"}, errcode.InvalidPipeline},
		{"reject in a derivation", abi.PlaceDerivation, Stage{Module: "redact", OnError: abi.OnErrorReject}, errcode.InvalidPipeline},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := image.ResolveStages(tt.place, "orders", []Stage{{Module: "redact"}, tt.stage})
			e := errcode.From(err)
			if e == nil || e.Code != tt.want || e.Fields["stage"] != 1 || !strings.HasPrefix(e.Detail, "stage 1: ") {
				t.Fatalf("got %v, want %v at stage 1", err, tt.want)
			}
		})
	}
	// The widest that the first version took: a log may hold it.
	widest := Stage{
		Module: "redact", Config: append(bytes.Repeat([]byte{' '}, abi.MaxWrittenConfigBytes-2), "{}"...),
		Limits: StageLimits{MemoryBytes: 4 << 30},
	}
	if got, err := image.ResolveStages(abi.PlaceWrite, "orders", []Stage{widest}); err != nil || string(got[0].Config) != "{}" {
		t.Fatalf("the widest stage: %v, %v", got, err)
	}
	if _, err := image.ResolveStages(abi.PlaceWrite, "orders", make([]Stage, abi.MaxStages+1)); !errcode.Is(err, errcode.InvalidPipeline) {
		t.Fatalf("too many stages: %v", err)
	}
	if _, err := image.ResolveStages(abi.Place(9), "orders", stage("redact")); !errcode.Is(err, errcode.InvalidPipeline) {
		t.Fatalf("unknown place: %v", err)
	}
}
