package breaker

import "math/bits"

// window is the last size attempts, and which hosts' attempts of them failed.
//
// Attempts come in batches that have counts and no order. Within a batch the failures are taken to be spread evenly:
// when attempts leave the window, failures leave in proportion, rounded so that a failure stays as long as
// any part of it is in the window. Hence
//   - a batch that is in the window as a whole counts with all of its failures;
//   - a batch of one attempt is exact;
//   - at most one batch, the oldest, is there in part, and the failures are over
//     the proportion by less than one. This holds for a batch larger than the window, too: of 1,000 attempts
//     with 10 failures a window of 100 keeps one.
//
// Taking the failures as the newest instead would fabricate: that batch would fill a window of 10. Taking
// them as the oldest would lose some that are in the window.
type window struct {
	size               uint64
	attempts, failures uint64
	// batches from the oldest to the newest; none is empty, so that there are at most size.
	batches []Batch
}

// Batch is a number of attempts that came at once, as far as they are in the window.
type Batch struct {
	// Number is the machine's question that the batch raised, or the last one before it.
	Number uint64 `json:"number,omitempty"`
	// Attempts in the window, at least 1, and the failures among them.
	Attempts uint64 `json:"attempts"`
	Failures uint64 `json:"failures,omitempty"`
	// WholeAttempts and WholeFailures are what the batch had when it came, without what was
	// discounted since.
	WholeAttempts uint64 `json:"whole_attempts"`
	WholeFailures uint64 `json:"whole_failures,omitempty"`
	// Hosts are those that had failures; their sum is Failures.
	Hosts []HostFailures `json:"hosts,omitempty"`
}

// HostFailures are failures of one host in a batch.
type HostFailures struct {
	// Address as in HostResults.
	Address  string `json:"address,omitempty"`
	Failures uint64 `json:"failures"`
}

// maxCount bounds the attempts that are believed of one host in one report, so that sums of counts
// from outside do not overflow.
const maxCount = 1 << 40

// add takes a batch in. Without failures it allocates nothing once there is a batch without failures
// at the end.
func (w *window) add(number uint64, results []HostResults) {
	b := Batch{Number: number}
	var successes uint64
	failing := 0
	for i := range results {
		successes += min(results[i].Successes, maxCount)
		b.WholeFailures += min(results[i].Failures, maxCount)
		if results[i].Failures > 0 {
			failing++
		}
	}
	b.WholeAttempts = successes + b.WholeFailures
	b.Attempts, b.Failures = b.WholeAttempts, b.WholeFailures
	if b.Attempts == 0 {
		return
	}
	if failing > 0 {
		b.Hosts = make([]HostFailures, 0, failing)
		for _, r := range results {
			if r.Failures > 0 {
				b.Hosts = append(b.Hosts, HostFailures{r.Address, min(r.Failures, maxCount)})
			}
		}
	}
	if b.Attempts > w.size {
		w.clear()
		b.evict(b.Attempts - w.size)
	} else if free := w.size - w.attempts; b.Attempts > free {
		w.evict(b.Attempts - free)
	}
	w.attempts += b.Attempts
	w.failures += b.Failures
	if n := len(w.batches); n > 0 && b.Failures == 0 && w.batches[n-1].Failures == 0 {
		last := &w.batches[n-1]
		last.Attempts += b.Attempts
		last.WholeAttempts, last.WholeFailures = last.Attempts, 0
		return
	}
	if b.Attempts > 0 {
		w.batches = append(w.batches, b)
	}
}

// evict takes the oldest n attempts out; there must be as many.
func (w *window) evict(n uint64) {
	w.attempts -= n
	for n > 0 {
		b := &w.batches[0]
		out := min(n, b.Attempts)
		w.failures -= b.evict(out)
		n -= out
		if b.Attempts == 0 {
			w.batches[0] = Batch{}
			w.batches = w.batches[1:]
		}
	}
}

// evict takes n attempts out of the batch, and returns how many of them had failed.
func (b *Batch) evict(n uint64) uint64 {
	before := b.Failures
	b.Attempts -= n
	if before == 0 {
		return 0
	}
	b.Failures = min(before, portion(b.WholeFailures, b.Attempts, b.WholeAttempts))
	if b.Failures == before {
		return 0
	}
	// Each host keeps its portion rounded up, and the hosts with the most make up for the rounding.
	var sum uint64
	for i := range b.Hosts {
		h := &b.Hosts[i]
		h.Failures = portion(h.Failures, b.Failures, before)
		sum += h.Failures
	}
	for ; sum > b.Failures; sum-- {
		most := 0
		for i := range b.Hosts {
			if b.Hosts[i].Failures > b.Hosts[most].Failures {
				most = i
			}
		}
		b.Hosts[most].Failures--
	}
	return before - b.Failures
}

// discount takes the failures of some hosts out for good.
func (w *window) discount(addresses []string) {
	kept := w.batches[:0]
	for i := range w.batches {
		b := w.batches[i]
		n := b.discount(addresses)
		w.attempts -= n
		w.failures -= n
		if b.Attempts > 0 {
			kept = append(kept, b)
		}
	}
	clear(w.batches[len(kept):])
	w.batches = kept
}

func (b *Batch) discount(addresses []string) uint64 {
	var out uint64
	for i := range b.Hosts {
		for _, a := range addresses {
			if a != "" && a == b.Hosts[i].Address {
				out += b.Hosts[i].Failures
				b.Hosts[i].Failures = 0
				break
			}
		}
	}
	if out > 0 {
		b.Attempts -= out
		b.Failures -= out
		b.WholeAttempts, b.WholeFailures = b.Attempts, b.Failures
	}
	return out
}

// failuresAfter is the number of failures in batches after that number.
func (w *window) failuresAfter(number uint64) uint64 {
	var n uint64
	for i := len(w.batches) - 1; i >= 0 && w.batches[i].Number > number; i-- {
		n += w.batches[i].Failures
	}
	return n
}

// resize keeps the newest attempts that a new size has room for.
func (w *window) resize(size uint32) {
	w.size = uint64(size)
	if w.attempts > w.size {
		w.evict(w.attempts - w.size)
	}
}

func (w *window) clear() {
	clear(w.batches)
	w.attempts, w.failures, w.batches = 0, 0, w.batches[:0]
}

// portion is a*b/c, rounded up; a or b must be at most c, which must not be 0.
func portion(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	q, rest := bits.Div64(hi, lo, c)
	if rest > 0 {
		q++
	}
	return q
}
