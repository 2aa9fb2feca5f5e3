package xds

import (
	"maps"
	"testing"
)

// TestRefusedNames: Envoy applies what is good in a response of clusters, and names the others.
func TestRefusedNames(t *testing.T) {
	versions := map[string]string{"a": "1", "a-b": "2", "c": "3"}
	for _, test := range []struct {
		text string
		want map[string]bool
	}{
		{"", map[string]bool{}},
		{"Error adding/updating cluster(s) a-b: no such file", map[string]bool{"a-b": true}},
		{"Error adding/updating cluster(s) a: no, c: neither", map[string]bool{"a": true, "c": true}},
		{"the cluster c is not valid", map[string]bool{"c": true}},
		{"not valid", map[string]bool{"a": true, "a-b": true, "c": true}},
	} {
		if got := (batch{versions: versions}).refused(test.text); !maps.Equal(got, test.want) {
			t.Errorf("%q: %v, want %v", test.text, got, test.want)
		}
	}
}
