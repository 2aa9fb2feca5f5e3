package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// remember has each file that may have lost a service unmeant go on naming what it named before.
func (b *builder) remember() {
	for name, file := range b.next.files {
		if last := b.prev.files[name]; last != nil && file.mayHaveLost() {
			maps.Copy(file.named, last.named)
		}
	}
}

// keep keeps the services that no document names where a file that has named them may have lost them unmeant. A service of
// which another has a path now was replaced.
func (b *builder) keep() {
	var taken map[string]bool        // paths of services that documents name
	missing := map[string][]string{} // services by file
	losers := b.losers()
	for _, name := range slices.Sorted(maps.Keys(b.prev.live)) {
		last := b.prev.live[name]
		if b.claims[name] != nil || losers[name] == "" {
			continue
		}
		file := b.next.files[losers[name]]
		if file.changed || file.gone {
			if taken == nil {
				taken = b.paths()
			}
			if !slices.ContainsFunc(paths(last.served), func(path string) bool { return taken[path] }) {
				b.next.live[name] = b.asBefore(last)
				b.next.holds = true
			}
			continue
		}
		if !file.fault {
			b.report(losers[name], 1, "the file is empty, but had services: they stay; delete the file if they are to go")
			file.fault = true
		}
		b.next.live[name] = b.lastGood(last)
		// A problem of the file, or of a document of no known service, may be theirs.
		if len(file.entries) > 0 && !slices.ContainsFunc(file.entries, func(e *entry) bool { return e.name == "" }) {
			missing[losers[name]] = append(missing[losers[name]], name)
		}
	}
	for name, services := range missing {
		b.report(name, 1, "the file has an error, so it may be cut off: what was in it and is missing stays (%s)", someOf(services))
	}
}

// losers are, by service, a file that has named it and may have lost it unmeant: the one that it is in force from before
// others, and of those one that may come back before one with a fault.
func (b *builder) losers() map[string]string {
	all, rank := map[string]string{}, map[string]int{}
	for _, name := range b.names {
		file := b.next.files[name]
		if !file.mayHaveLost() {
			continue
		}
		for service := range file.named {
			last := b.prev.live[service]
			if last == nil {
				continue
			}
			r := 0
			switch {
			case last.entry.file == name:
				r = 3
			case file.changed || file.gone:
				r = 2
			case b.next.files[last.entry.file] != nil: // else there is no file that its problems could be at
				r = 1
			}
			if r > rank[service] {
				all[service], rank[service] = name, r
			}
		}
	}
	return all
}

// paths are those of all services so far.
func (b *builder) paths() map[string]bool {
	all := map[string]bool{}
	for _, r := range b.next.live {
		for _, path := range paths(r.served) {
			all[path] = true
		}
	}
	return all
}

// paths are what no other service has of its routes: each with its host.
func paths(s *Service) []string {
	var all []string
	for i := range s.Routes {
		r := &s.Routes[i]
		for _, host := range hostsOf(r) {
			all = append(all, host+"\x00"+string(r.Match)+"\x00"+r.Value)
		}
	}
	return all
}

// someOf lists the first few names.
func someOf(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
