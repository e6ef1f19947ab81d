package telemetry

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

var update = flag.Bool("update", false, "write the golden file anew")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's own, without a way to stop them.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// testTimeout is far beyond what any step of a test takes.
const testTimeout = 20 * time.Second

// start starts telemetry that is shut down, and then leaves no goroutine, when the test ends.
func start(t testing.TB, o Options) *Telemetry {
	t.Helper()
	o.Version, o.BrokerID = "1.2.3", "7"
	tel, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, tel) })
	return tel
}

func stop(t testing.TB, tel *Telemetry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// scrape is what GET /metrics answers.
func scrape(t testing.TB, tel *Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// values are all series of a scrape: name and labels in the order of the text, and their value.
// The number of a histogram's values is under its name with _count.
func values(t testing.TB, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("a Prometheus server could not read this: %v", err)
	}
	all := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var pairs []string
			for _, l := range m.GetLabel() {
				pairs = append(pairs, l.GetName()+"="+l.GetValue())
			}
			series := name + "{" + strings.Join(pairs, ",") + "}"
			switch {
			case m.Counter != nil:
				all[series] = m.GetCounter().GetValue()
			case m.Gauge != nil:
				all[series] = m.GetGauge().GetValue()
			case m.Histogram != nil:
				all[name+"_count{"+strings.Join(pairs, ",")+"}"] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return all
}

func wantValues(t testing.TB, got map[string]float64, want map[string]float64) {
	t.Helper()
	for series, v := range want {
		if g, ok := got[series]; !ok || g != v {
			t.Errorf("%s is %v (there: %t), want %v", series, g, ok, v)
		}
	}
}

// batches makes n record batches of so many records each, back to back.
func batches(t testing.TB, n, records int) []byte {
	t.Helper()
	one := recordtest.Build(t, record.BuilderOptions{}, slices.Repeat([]record.Record{{Timestamp: 1, Value: []byte("v")}}, records)...)
	return bytes.Repeat(one, n)
}
