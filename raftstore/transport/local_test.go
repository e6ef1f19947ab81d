package transport

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

func TestLocalTransportHasNoPeers(t *testing.T) {
	tr := NewLocal("n1")
	_, pipelineErr := tr.AppendEntriesPipeline("n2", "n2")
	for call, err := range map[string]error{
		"pipeline":         pipelineErr,
		"append entries":   tr.AppendEntries("n2", "n2", nil, nil),
		"request vote":     tr.RequestVote("n2", "n2", nil, nil),
		"pre-vote":         tr.RequestPreVote("n2", "n2", nil, nil),
		"install snapshot": tr.InstallSnapshot("n2", "n2", nil, nil, nil),
		"timeout now":      tr.TimeoutNow("n2", "n2", nil, nil),
	} {
		if !errors.Is(err, ErrNoPeers) || !strings.Contains(err.Error(), "n2") {
			t.Errorf("%s: %v", call, err)
		}
	}
	if tr.LocalAddr() != "n1" || tr.DecodePeer(tr.EncodePeer("n1", "n1")) != "n1" {
		t.Error("the address is not the id")
	}
}

func TestCampaignNeverBlocks(t *testing.T) {
	tr := NewLocal("n1")
	if err := tr.Campaign(); err != nil {
		t.Fatal(err)
	}
	if err := tr.Campaign(); !errors.Is(err, ErrBusy) {
		t.Errorf("second campaign that nobody took: %v", err)
	}
	rpc := <-tr.Consumer()
	if _, ok := rpc.Command.(*raft.TimeoutNowRequest); !ok {
		t.Errorf("campaign is a %T", rpc.Command)
	}
	rpc.Respond(&raft.TimeoutNowResponse{}, nil) // must not block though nobody reads
}
