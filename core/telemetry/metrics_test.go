package telemetry

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/httpapi"
	"github.com/wasmill/wasmill/wasm/engine"
)

// observe makes every kind of observation, with results that are the same every time.
func observe(t testing.TB, tel *Telemetry) {
	const ms = time.Millisecond
	tel.Received("orders", 2, 100, 4096)
	tel.Produced("orders", &broker.ProduceResult{
		Partitions: []broker.ProducedPartition{
			{Partition: 0, Count: 60},
			{Partition: 1, Count: 30, Duplicate: true},
			{Partition: 2, Error: errcode.New(errcode.DiskFull, "full")},
		},
		Dropped: []int{1, 2, 3}, Rejected: []broker.RejectedRecord{{Index: 4}}, Routed: []broker.RoutedRecord{{Index: 5}, {Index: 6}},
	})
	data := batches(t, 2, 5)
	tel.Fetched(broker.NewFetchResponse([]broker.FetchedPartition{
		{Topic: "orders", Batches: data},
		{Topic: "view-of-orders", Batches: data[:len(data)/2]},
		{Topic: "empty"},
		{Topic: "made-up", Err: errcode.New(errcode.UnknownTopicOrPartition, "no")},
	}, nil))
	tel.Phase("produce", 3*ms)
	tel.Phase("fetch", 20*time.Microsecond)
	tel.Phase("append", 700*time.Microsecond)
	log := tel.Log("orders", 0)
	log.Appended(3, 5000)
	log.Appended(1, 100)
	log.Synced(2 * ms)
	tel.Log("orders", 1)
	tel.RegisterPartitions(func() []PartitionStat {
		return []PartitionStat{
			{Topic: "orders", Partition: 0, LogStartOffset: 10, HighWatermark: 70, SizeBytes: 5100},
			{Topic: "orders", Partition: 1, HighWatermark: 0, Failed: true},
		}
	})
	tel.RegisterMemory(func() []admission.Usage {
		return []admission.Usage{{Budget: "answers", InUse: 32, Limit: 1 << 20}, {Budget: "bodies", InUse: 64, Limit: 1 << 21}}
	})

	tel.Instances("redact@2", 2)
	tel.Instances("redact@2", -1)
	tel.Memory("redact@2", 1<<20)
	tel.Memory("redact@2", -1<<16)
	tel.Call("redact@2", ms, 50, 2048, nil)
	tel.Call("redact@2", 40*time.Second, 50, 2048, errors.New("trap"))
	tel.Outcome("redact@2", engine.Outcome{In: 100, Kept: 60, Emitted: 30, Routed: 2, Dropped: 3, Rejected: 1, Failed: 4})
	tel.GuestMetric("redact@2", "redacted", 5)
	tel.GuestMetric("redact@2", "redacted", -2)

	request := &httpapi.Request{Method: "POST", Route: "/v1/topics/{topic}/records", BytesIn: 4096}
	ctx := tel.RequestStarted(t.Context(), request)
	tel.RequestStarted(t.Context(), request) // still under way
	request.Status, request.BytesOut, request.Duration = 507, 200, 4*ms
	request.Err = errcode.New(errcode.DiskFull, "full")
	tel.RequestFinished(ctx, request)
}

// stable replaces what is another one in every run or build.
func stable(text string) string {
	text = regexp.MustCompile(`(?m)^(wasmill_uptime_seconds) .*$`).ReplaceAllString(text, "$1 UPTIME")
	text = regexp.MustCompile(`go_version="[^"]*"`).ReplaceAllString(text, `go_version="GO"`)
	var ours []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "wasmill_") || strings.HasPrefix(line, "target_info") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

func TestMetricsGolden(t *testing.T) {
	const golden = "testdata/metrics.golden"
	tel := start(t, Options{})
	observe(t, tel)
	text := scrape(t, tel)
	values(t, text)
	got := stable(text)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the metrics differ from %s (-update writes it anew):\n%s", golden, got)
	}
	for _, family := range []string{"go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(text, "\n"+family) {
			t.Errorf("there is no %s", family)
		}
	}
}

// documented are the metrics that docs/telemetry.md lists in its tables.
func documented(text string) []string {
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(wasmill_[a-z_]+)` \\|").FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// served are the metrics that a scrape shows, with their types.
func served(text string) map[string]string {
	names := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (wasmill_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		names[m[1]] = m[2]
	}
	return names
}

func TestEveryMetricIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	tel := start(t, Options{})
	observe(t, tel)
	got, listed := served(scrape(t, tel)), documented(string(doc))
	for name, kind := range got {
		if !slices.Contains(listed, name) {
			t.Errorf("docs/telemetry.md does not list %s", name)
		} else if !regexp.MustCompile("(?m)^\\| `" + name + "` \\| " + kind + " \\|").Match(doc) {
			t.Errorf("docs/telemetry.md does not say that %s is a %s", name, kind)
		}
	}
	for _, name := range listed {
		if got[name] == "" {
			t.Errorf("docs/telemetry.md lists %s, which is not served", name)
		}
	}
	if len(got) < 30 {
		t.Errorf("only %d metrics are served: %v", len(got), slices.Sorted(maps.Keys(got)))
	}
}

func TestDeletedTopicsLeave(t *testing.T) {
	tel := start(t, Options{})
	present := []PartitionStat{{Topic: "a"}, {Topic: "b"}}
	tel.RegisterPartitions(func() []PartitionStat { return present })
	for _, name := range []string{"a", "b"} {
		tel.Log(name, 0).Appended(1, 10)
		tel.Received(name, 1, 1, 10)
	}
	tel.Fetched(broker.NewFetchResponse([]broker.FetchedPartition{{Topic: "view", Batches: batches(t, 1, 1)}}, nil))
	tel.Log("opening", 0).Appended(1, 10) // not listed yet
	scrape(t, tel)

	present = present[:1]
	got := values(t, scrape(t, tel))
	wantValues(t, got, map[string]float64{
		"wasmill_log_appended_bytes_total{partition=0,topic=a}":       10,
		"wasmill_log_appended_bytes_total{partition=0,topic=opening}": 10,
		"wasmill_topic_produced_bytes_total{topic=a}":                 10,
		"wasmill_topic_fetched_records_total{topic=view}":             1,
	})
	for series := range got {
		if strings.Contains(series, "topic=b}") {
			t.Errorf("%s is still there", series)
		}
	}

	present = append(present, PartitionStat{Topic: "b"}) // made anew
	tel.Log("b", 0).Appended(1, 3)
	wantValues(t, values(t, scrape(t, tel)), map[string]float64{
		"wasmill_log_appended_bytes_total{partition=0,topic=b}":   3,
		"wasmill_partition_high_watermark{partition=0,topic=b}":   0,
		"wasmill_partition_log_start_offset{partition=0,topic=a}": 0,
	})
	present = nil // not known: nothing is forgotten
	wantValues(t, values(t, scrape(t, tel)), map[string]float64{"wasmill_log_appended_bytes_total{partition=0,topic=b}": 3})
}

func TestGuestMetricsAreBounded(t *testing.T) {
	tel := start(t, Options{})
	for i := range maxGuestMetrics + 10 {
		tel.GuestMetric("greedy@1", fmt.Sprintf("m%d", i), 1)
	}
	tel.GuestMetric("modest@1", "m", 1)
	wantValues(t, values(t, scrape(t, tel)), map[string]float64{
		"wasmill_module_guest{module=greedy@1,name=m0}":      1,
		"wasmill_module_guest{module=greedy@1,name=(other)}": 10,
		"wasmill_module_guest{module=modest@1,name=m}":       1,
	})
}

// TestConcurrentUse counts from many goroutines while others read; nothing may be lost.
func TestConcurrentUse(t *testing.T) {
	const workers, rounds = 8, 200
	tel := start(t, Options{})
	tel.RegisterPartitions(func() []PartitionStat { return []PartitionStat{{Topic: "t"}} })
	var g sync.WaitGroup
	for w := range workers {
		g.Go(func() {
			log := tel.Log("t", 0)
			for i := range rounds {
				tel.Received("t", 1, 2, 3)
				tel.Produced("t", &broker.ProduceResult{Partitions: []broker.ProducedPartition{{Count: 2}}})
				tel.Fetched(broker.NewFetchResponse([]broker.FetchedPartition{
					{Err: errcode.New(errcode.OffsetOutOfRange, "no")}}, nil))
				tel.Call("m@1", time.Millisecond, 1, 1, nil)
				tel.GuestMetric("m@1", fmt.Sprintf("g%d", i%4), 1)
				log.Appended(1, 10)
				log.Synced(time.Millisecond)
				r := &httpapi.Request{Method: "GET", Route: "/r", Status: 200 + i%3}
				tel.RequestFinished(tel.RequestStarted(t.Context(), r), r)
				if w == 0 && i%20 == 0 {
					scrape(t, tel)
				}
			}
		})
	}
	g.Wait()
	const n = workers * rounds
	wantValues(t, values(t, scrape(t, tel)), map[string]float64{
		"wasmill_topic_produced_records_total{topic=t}":                  2 * n,
		"wasmill_topic_written_records_total{topic=t}":                   2 * n,
		"wasmill_errors_total{code=OFFSET_OUT_OF_RANGE,operation=fetch}": n,
		"wasmill_module_calls_total{module=m@1,outcome=ok}":              n,
		"wasmill_module_guest{module=m@1,name=g3}":                       n / 4,
		"wasmill_log_appended_bytes_total{partition=0,topic=t}":          10 * n,
		"wasmill_phase_duration_seconds_count{phase=sync}":               n,
		"wasmill_http_active_requests{}":                                 0,
	})
}
