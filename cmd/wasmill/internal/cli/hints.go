package cli

import (
	"github.com/wasmill/wasmill/core/errcode"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// nextCommands say which command to run after a refusal. The broker's own text says what is wrong, and
// what to do in terms of its API.
var nextCommands = map[errcode.Code]string{
	errcode.UnknownTopicOrPartition: "See the topics with 'wasmill topic list', or make one with 'wasmill topic create TOPIC'.",
	errcode.UnknownModule:           "See the modules with 'wasmill module list' and one's versions with 'wasmill module show NAME', or upload one with 'wasmill module push NAME FILE.wasm'.",
	errcode.UnknownView:             "See the views with 'wasmill view list', or make one with 'wasmill view create VIEW'.",
	errcode.UnknownDerivation:       "See the derivations with 'wasmill derive list', or make one with 'wasmill derive create DERIVATION'.",
	errcode.StorageFailed:           damagedLog,
	errcode.VersionConflict:         "Look at the version in force with the same command's 'get', then decide anew and name that version with --if-version.",
}

// damagedLog is also for records that cannot be read; to the producer of a broken batch, which has the same
// code, it does not apply.
const damagedLog = "On the broker's machine 'wasmill log verify TOPIC/PARTITION' shows which file is damaged and where."

// pipelineHint is for a topic without a pipeline, whose code is that of everything that is not found.
func pipelineHint(topic string, err error) error {
	if !client.IsCode(err, errcode.NotFound) {
		return err
	}
	return hinted{err, "Set one with 'wasmill pipeline set " + topic + " --stage MODULE'."}
}
