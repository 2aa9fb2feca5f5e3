package xds

import (
	"fmt"
	"strings"
	"time"

	"github.com/breakwater/breakwater/envoy"
)

// sharedFor is how long a node id may have several streams before that is a fault: a hot restart has two for some
// seconds, and a stream that broke without a word is noticed within 35 s.
const sharedFor = time.Minute

// faults returns in words what is wrong with a proxy, as what is said of it and the gravest first; nil if nothing is. The caller must hold the
// ledger's mu.
func (p *proxyState) faults(now time.Time) []string {
	var faults []string
	seen := map[string]bool{}
	for _, s := range p.streams {
		if f := tooOld(s.proxy.Version); f != "" && !seen[f] {
			faults = append(faults, f)
			seen[f] = true
		}
	}
	if !p.shared.IsZero() && now.Sub(p.shared) >= sharedFor {
		addresses := make([]string, len(p.streams))
		for i, s := range p.streams {
			addresses[i] = s.proxy.Address
		}
		faults = append(faults, fmt.Sprintf("shares its node id with another proxy (streams from %s); give each its own --node-id", strings.Join(addresses, ", ")))
	}
	return faults
}

// tooOld returns in words that an Envoy of that version is too old; empty if it is not, or its version is not known.
func tooOld(version string) string {
	if !envoy.TooOld(version) {
		return ""
	}
	return fmt.Sprintf("runs Envoy %s; Breakwater needs %s or later", version, strings.TrimSuffix(envoy.MinVersion, ".0"))
}
