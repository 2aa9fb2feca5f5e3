package store_test

import (
	"strings"
	"testing"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
)

// BenchmarkAppend is what a breaker's change waits for, BenchmarkSave what an action does; policies are saved beside.
func BenchmarkAppend(b *testing.B) {
	d := benched(b)
	for b.Loop() {
		if err := d.Append("breakers", map[string]any{"proxy": "edge-1", "services": map[string]int{"svc": 1}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	d := benched(b)
	for n := 0; b.Loop(); n++ {
		if err := d.Save("orders", []doc{{A: n}, {B: n}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSaveLog(b *testing.B) {
	d := benched(b)
	entries := make([]store.Entry, 1000)
	for n := range entries {
		entries[n] = store.Entry{ID: uint64(n), Value: map[string]any{"service": "svc", "id": n}}
	}
	for n := len(entries); b.Loop(); n++ {
		entries = append(entries[1:], store.Entry{ID: uint64(n), Value: map[string]any{"service": "svc", "id": n}})
		if err := d.SaveLog("events", entries); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSavePolicies(b *testing.B) {
	p := benched(b).Policies("/policies")
	files := make([]policy.File, 1000)
	for i := range files {
		files[i] = policy.File{Name: "a.yaml", Data: []byte(strings.Repeat("service: a\n", 30))}
	}
	for n := 0; b.Loop(); n++ {
		files[n%len(files)].Name = "b.yaml"
		if err := p.SavePolicies(files); err != nil {
			b.Fatal(err)
		}
	}
}

func benched(b *testing.B) *store.Dir {
	b.Helper()
	d, err := store.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	return d
}
