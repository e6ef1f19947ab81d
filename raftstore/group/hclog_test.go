package group

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestRaftLogger(t *testing.T) {
	var out bytes.Buffer
	handler := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
	l := newRaftLogger(slog.New(handler))
	l.Trace("t")
	l.Debug("d")
	l.Info("i", "servers", hclog.Fmt("%d of %s", 1, "x"))
	l.With("group", "g").Named("sub").Warn("w", "k", 2)
	l.ResetNamed("other").Error("e")
	l.StandardLogger(nil).Print("standard")
	want := `level=DEBUG msg="raft: d"
level=DEBUG msg="raft: i" servers="1 of x"
level=WARN msg="raft.sub: w" group=g k=2
level=ERROR msg="other: e"
level=DEBUG msg=standard
`
	if got := out.String(); got != want {
		t.Errorf("logged\n%s, want\n%s", got, want)
	}
	if l.IsTrace() || !l.IsDebug() || !l.IsInfo() || !l.IsWarn() || !l.IsError() {
		t.Error("wrong levels are enabled")
	}
	if l.GetLevel() != hclog.Debug {
		t.Errorf("level is %v", l.GetLevel())
	}
	with := l.With("a", 1)
	if got := with.ImpliedArgs(); len(got) != 2 || len(l.ImpliedArgs()) != 0 || !strings.HasPrefix(with.Name(), "raft") {
		t.Errorf("implied arguments %v, name %s", got, with.Name())
	}
}
