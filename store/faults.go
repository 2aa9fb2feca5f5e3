package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// retryInterval is the time between two tries to save a document that could not be saved.
const retryInterval = time.Second

// Fault is a document that could not be saved. It is kept in memory, and saved as soon as that works.
type Fault struct {
	// Document is its name.
	Document string
	// Err is why it could not be saved when that was tried last.
	Err error
	// Since is when it could not be saved first.
	Since time.Time
}

// saving is what has become of a document's saves.
type saving struct {
	failures int
	// fault is nil if the document is saved; data is what is to be saved otherwise.
	fault *Fault
	data  []byte
}

// saved notes what has become of a try to save a document, and returns the try's error. The caller must hold d.mu.
func (d *Dir) saved(name string, data []byte, err error) error {
	d.savingsMu.Lock()
	defer d.savingsMu.Unlock()
	s := d.savings[name]
	if s == nil {
		s = &saving{}
		d.savings[name] = s
	}
	if err == nil {
		if s.fault != nil {
			d.log.Info("a document is saved again", "document", name, "unsaved_since", s.fault.Since)
		}
		s.fault, s.data = nil, nil
		return nil
	}
	s.failures++
	if s.fault == nil {
		s.fault = &Fault{Document: name, Since: time.Now()}
		d.log.Error("cannot save a document: it is lost if Breakwater ends before it is saved", "document", name, "error", err)
	}
	s.fault.Err, s.data = err, data
	return err
}

// Faults returns the documents that could not be saved, in ascending order of name.
func (d *Dir) Faults() []Fault {
	d.savingsMu.Lock()
	defer d.savingsMu.Unlock()
	var out []Fault
	for _, s := range d.savings {
		if s.fault != nil {
			out = append(out, *s.fault)
		}
	}
	slices.SortFunc(out, func(a, b Fault) int { return cmp.Compare(a.Document, b.Document) })
	return out
}

// Unsaved reports whether the document of that name could not be saved.
func (d *Dir) Unsaved(name string) bool {
	d.savingsMu.Lock()
	defer d.savingsMu.Unlock()
	s := d.savings[name]
	return s != nil && s.fault != nil
}

// Run tries again to save what could not be saved, until ctx ends. It always returns nil.
func (d *Dir) Run(ctx context.Context) error {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		d.mu.Lock()
		d.retry()
		d.mu.Unlock()
	}
}

// retry tries to save each document that could not be saved. The caller must hold d.mu.
func (d *Dir) retry() {
	if d.closed.Load() {
		return
	}
	for name, data := range d.unsaved() {
		_ = d.saved(name, data, d.write(name, data)) // it is a fault until it is saved
	}
}

// unsaved returns what is to be saved of the documents that could not be saved, by name.
func (d *Dir) unsaved() map[string][]byte {
	d.savingsMu.Lock()
	defer d.savingsMu.Unlock()
	out := map[string][]byte{}
	for name, s := range d.savings {
		if s.fault != nil {
			out[name] = s.data
		}
	}
	return out
}

var (
	failuresDesc = prometheus.NewDesc("breakwater_store_save_failures_total",
		"Failed tries to save a document of the state directory.", []string{"document"}, nil)
	unsavedDesc = prometheus.NewDesc("breakwater_store_unsaved",
		"1 while a document of the state directory could not be saved: what it has is lost if Breakwater ends.", []string{"document"}, nil)
)

// Describe and Collect make a Dir a prometheus.Collector.
func (*Dir) Describe(ch chan<- *prometheus.Desc) {
	ch <- failuresDesc
	ch <- unsavedDesc
}

// Collect is of the documents that this process has saved, or tried to.
func (d *Dir) Collect(ch chan<- prometheus.Metric) {
	d.savingsMu.Lock()
	defer d.savingsMu.Unlock()
	for name, s := range d.savings {
		unsaved := 0.0
		if s.fault != nil {
			unsaved = 1
		}
		ch <- prometheus.MustNewConstMetric(failuresDesc, prometheus.CounterValue, float64(s.failures), name)
		ch <- prometheus.MustNewConstMetric(unsavedDesc, prometheus.GaugeValue, unsaved, name)
	}
}
