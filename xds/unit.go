package xds

import (
	"maps"
	"slices"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

// unit is one version of one service: its policy, what Envoy is told for it, and the
// bytes of that.
type unit struct {
	policy     *policy.Service
	generation translate.Generation
	translated *translate.Unit
	cluster    *resource
	endpoints  *resource // nil for a DNS cluster
	// stored is true if it was accepted in an earlier life of the control plane, and nobody has asked for it in this one.
	stored bool
}

func newUnit(svc *policy.Service, gen translate.Generation) (*unit, error) {
	t, err := translate.Service(svc, gen)
	if err != nil {
		return nil, err
	}
	u := &unit{policy: svc, generation: gen, translated: t}
	if u.cluster, err = newResource(typeCluster, t.Cluster.GetName(), t.Cluster); err != nil {
		return nil, err
	}
	if t.Endpoints != nil {
		if u.endpoints, err = newResource(typeEndpoint, t.Endpoints.GetClusterName(), t.Endpoints); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// is reports whether the unit is that policy in that generation.
func (u *unit) is(svc *policy.Service, gen translate.Generation) bool {
	return u != nil && u.policy == svc && sameGeneration(u.generation, gen)
}

func sameGeneration(a, b translate.Generation) bool {
	return a.Cluster == b.Cluster && a.Disabled == b.Disabled && maps.Equal(a.Hosts, b.Hosts)
}

// samePolicy reports whether two units are of the same values, in whatever generation.
func (u *unit) samePolicy(other *unit) bool {
	return u != nil && other != nil && u.policy.Digest == other.policy.Digest
}

func (u *unit) sameRoutes(other *unit) bool {
	return u.translated.RoutesVersion == other.translated.RoutesVersion
}

// fallback returns the service that the unit's routes also refer to, or "".
func (u *unit) fallback() string {
	if u.policy.Fallback == nil {
		return ""
	}
	return u.policy.Fallback.Service
}

// lacks reports whether the other unit takes requests that this one does not: it has a path, on
// a host, that this one has not.
func (u *unit) lacks(other *unit) bool {
	has := map[string]bool{}
	for _, key := range u.paths() {
		has[key] = true
	}
	return slices.ContainsFunc(other.paths(), func(key string) bool { return !has[key] })
}

func (u *unit) paths() []string {
	var keys []string
	for _, r := range u.policy.Routes {
		hosts := r.Hosts
		if len(hosts) == 0 {
			hosts = []string{"*"}
		}
		for _, h := range hosts {
			keys = append(keys, h+" "+string(r.Match)+" "+r.Value)
		}
	}
	return keys
}

// where is the place in the policy of what Envoy most likely rejects in a resource of that type: an expression or a rewrite,
// or a file of TLS. It is the service's own place if there is none of them.
func (u *unit) where(typeURL string) policy.Position {
	if typeURL == typeRoute {
		for _, r := range u.policy.Routes {
			if r.Match == policy.MatchRegex || r.Rewrite != "" || slices.ContainsFunc(r.Headers, func(h policy.HeaderMatch) bool { return h.Regex != "" }) {
				return r.Position
			}
		}
		return u.policy.Position
	}
	for _, path := range []string{"tls.ca_file", "tls.cert_file", "tls.key_file", "upstream"} {
		if o := u.policy.Origins[path]; o.Position.Line > 0 && o.Layer != policy.LayerBuiltIn {
			return o.Position
		}
	}
	return u.policy.Position
}
