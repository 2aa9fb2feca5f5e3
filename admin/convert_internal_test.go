package admin

import (
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// TestUnknownsAreUnset: a client can tell what is not known from a zero.
func TestUnknownsAreUnset(t *testing.T) {
	if p := positionProto(policy.Position{}); p != nil {
		t.Errorf("an unknown position is %v", p)
	}
	if p := positionProto(policy.Position{File: "a.yaml"}); p.GetFile() != "a.yaml" {
		t.Errorf("the position of a file is %v", p)
	}
	if ts := timestampProto(time.Time{}); ts != nil {
		t.Errorf("never is %v", ts)
	}
}
