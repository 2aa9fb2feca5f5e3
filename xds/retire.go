package xds

import "time"

// retire removes what nothing refers to any more. The caller must hold p.mu.
func (p *Publisher) retire(now time.Time, next *deadline) {
	gone := func(since time.Time, free bool) bool {
		if end := since.Add(retireTimeout); !free && now.Before(end) {
			next.at(end)
			return false
		}
		return true
	}
	if len(p.leaving) > 0 {
		settled := p.table == nil || p.trial == nil && p.tablesAccepted() == nil
		used := map[string]bool{}
		for name, u := range p.routed {
			used[name], used[u.fallback()] = true, true
		}
		var remove []string
		for name, since := range p.leaving {
			if gone(since, settled && !used[name]) {
				remove = append(remove, name)
				delete(p.leaving, name)
			}
		}
		p.cache.update(typeCluster, nil, remove)
	}
	var remove []string
	for name, since := range p.leavingEndpoints {
		u := p.effective[serviceOfEndpoints(name)]
		free := u == nil || p.ledger.acceptedByAll(typeCluster, u.cluster.name, u.cluster.version)
		if gone(since, free) {
			remove = append(remove, name)
			delete(p.leavingEndpoints, name)
		}
	}
	p.cache.update(typeEndpoint, nil, remove)
}
