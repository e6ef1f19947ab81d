package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/metadata"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// worldCommands make one of everything.
func worldCommands() []metadata.Command {
	stages := []metadata.Stage{{Module: "redact"}}
	return []metadata.Command{
		metadata.SetClusterInfo{ClusterID: "c1"},
		metadata.CreateTopic{Name: "orders", Partitions: 3, Config: map[string]string{"flush": "relaxed"}},
		metadata.CreateTopic{Name: "clean"},
		metadata.AddModule{Name: "redact", SHA256: strings.Repeat("a", 64), Size: 10, ABI: "wasmill-v1", Fields: []string{"value"}},
		metadata.SetPipeline{Topic: "orders", Stages: stages},
		metadata.PutView{Name: "orders-view", Topic: "orders", Stages: stages},
		metadata.PutDerivation{Name: "copy", Topic: "orders", Output: "clean", Stages: stages},
		metadata.AllocateProducerIDs{Count: 1000},
	}
}

func world(t testing.TB) *metadata.Image {
	t.Helper()
	image := metadata.NewImage()
	for _, c := range worldCommands() {
		next, _, err := metadata.Apply(image, metadata.Entry{At: noon, Command: c})
		if err != nil {
			t.Fatalf("%#v: %v", c, err)
		}
		image = next
	}
	return image
}

func encode(t testing.TB, image *metadata.Image) []byte {
	t.Helper()
	data, err := image.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
