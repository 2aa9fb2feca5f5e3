package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
)

// version is one of the two stored versions of a directory's policies.
type version struct {
	load func() ([]policy.File, error)
	save func([]policy.File) error
}

func versions(p *store.Policies) map[string]version {
	return map[string]version{
		"policies": {p.LoadPolicies, p.SavePolicies},
		"accepted": {p.LoadAccepted, p.SaveAccepted},
	}
}

func wantFiles(t *testing.T, what string, v version, want []policy.File) {
	t.Helper()
	got, err := v.load()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestPoliciesBelongToTheirDirectory(t *testing.T) {
	var log strings.Builder
	d, err := store.Open(t.TempDir(), hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	files := []policy.File{{Name: "a.yaml", Data: []byte("service: a\n")}}
	for _, v := range versions(d.Policies("/one")) {
		if err := v.save(files); err != nil {
			t.Fatal(err)
		}
	}

	two := d.Policies("/two")
	for name, v := range versions(two) {
		wantFiles(t, name+" of another directory", v, nil)
	}
	if got := log.String(); strings.Count(got, "[WARN]") != 1 || !strings.Contains(got, "/one") || !strings.Contains(got, "/two") {
		t.Errorf("log %q, want one warning with both directories", got)
	}
	// To look does not lose them.
	for name, v := range versions(d.Policies("/one")) {
		wantFiles(t, name, v, files)
	}
	for name, v := range versions(two) {
		if err := v.save(files); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, name+" after a save", v, files)
	}
	for name, v := range versions(d.Policies("/one")) {
		wantFiles(t, name+" that were replaced", v, nil)
	}
}

// What proxies accepted last is as good as the last good version, where that is lost.
func TestAcceptedPoliciesStandIn(t *testing.T) {
	accepted := []policy.File{{Name: "a.yaml", Data: []byte("accepted")}}
	for name, tt := range map[string]struct {
		lose    func(tx *bolt.Tx) error
		corrupt bool
	}{
		"removed": {lose: func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("policies")) }},
		"corrupted": {lose: func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("policies")).Put([]byte("value"), []byte(`{"files":`))
		}, corrupt: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := open(t, dir)
			p := d.Policies("/one")
			for _, err := range []error{p.SaveAccepted(accepted), p.SavePolicies([]policy.File{{Name: "a.yaml", Data: []byte("applied")}}), d.Close()} {
				if err != nil {
					t.Fatal(err)
				}
			}
			edit(t, dir, tt.lose)
			got, err := open(t, dir).Policies("/one").LoadPolicies()
			if diff := cmp.Diff(accepted, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if corrupt := (*store.CorruptError)(nil); errors.As(err, &corrupt) != tt.corrupt {
				t.Errorf("error %v", err)
			}
		})
	}
}
