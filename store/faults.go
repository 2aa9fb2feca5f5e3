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

// Fault is a document that could not be saved, which is kept in memory and saved as soon as that works, or one that was
// corrupt when it was loaded.
type Fault struct {
	// Document is its name, or FileName.
	Document string
	// Err is why it could not be saved when that was tried last, or a *CorruptError.
	Err error
	// Since is when it could not be saved first, or was found to be corrupt.
	Since time.Time
	// Corrupt is true if what is set aside of it could not be read. That stays a fault until the process ends.
	Corrupt bool
}

// saving is what has become of a document's saves.
type saving struct {
	failures int
	// fault is nil if the document is saved.
	fault *Fault
}

// saved notes what has become of a try to save a document, and returns the try's error. The caller must hold d.mu.
func (d *Dir) saved(name string, err error) error {
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
		s.fault = nil
		return nil
	}
	s.failures++
	if s.fault == nil {
		s.fault = &Fault{Document: name, Since: time.Now()}
		d.log.Error("cannot save a document: it is lost if Breakwater ends before it is saved", "document", name, "error", err)
	}
	s.fault.Err = err
	return err
}

// noteCorrupt has Faults say that a document, or the file, was corrupt.
func (d *Dir) noteCorrupt(name string, err error) {
	d.savingsMu.Lock()
	defer d.savingsMu.Unlock()
	d.corrupt = append(d.corrupt, Fault{Document: name, Err: err, Since: time.Now(), Corrupt: true})
}

// Faults returns what could not be saved and what was corrupt, in ascending order of name.
func (d *Dir) Faults() []Fault {
	d.savingsMu.Lock()
	defer d.savingsMu.Unlock()
	out := slices.Clone(d.corrupt)
	for _, s := range d.savings {
		if s.fault != nil {
			out = append(out, *s.fault)
		}
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return cmp.Compare(a.Document, b.Document) })
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
	for _, name := range d.unsaved() {
		_ = d.saved(name, d.write(name)) // it is a fault until it is saved
	}
}

// unsaved names the documents that could not be saved.
func (d *Dir) unsaved() []string {
	d.savingsMu.Lock()
	defer d.savingsMu.Unlock()
	var out []string
	for name, s := range d.savings {
		if s.fault != nil {
			out = append(out, name)
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
