package xds

import "time"

// typeOf returns a stream's state of one type, or nil. The caller must hold l.mu.
func (l *Ledger) typeOf(key streamKey, typeURL string) *typeState {
	if s := l.streams[key]; s != nil {
		return s.types[typeURL]
	}
	return nil
}

// held reports whether a stream has rejected this very version.
func (l *Ledger) held(key streamKey, typeURL, name, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.typeOf(key, typeURL)
	return t != nil && t.rejected[name].version == version
}

// accepts reports whether a stream has accepted a version and no other since.
func (l *Ledger) accepts(key streamKey, typeURL, name, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.typeOf(key, typeURL)
	return t != nil && t.accepted[name] == version
}

// inherits reports whether a stream's proxy has a resource of which it has accepted no other version
// than the one it had when it connected.
func (l *Ledger) inherits(key streamKey, typeURL, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.typeOf(key, typeURL).inherits(name)
}

func (t *typeState) inherits(name string) bool {
	return t != nil && t.inherited[name] != "" && t.accepted[name] == t.inherited[name]
}

// doubtful returns the names of which it is not known which version a stream's proxy has, for it has rejected a response of
// several. It is never nil.
func (l *Ledger) doubtful(key streamKey, typeURL string) map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := map[string]bool{}
	if t := l.typeOf(key, typeURL); t != nil {
		for name := range t.doubtful {
			names[name] = true
		}
	}
	return names
}

// acceptedByAll reports whether every stream has accepted a version.
func (l *Ledger) acceptedByAll(typeURL, name, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		if t := s.types[typeURL]; t == nil || t.accepted[name] != version {
			return false
		}
	}
	return true
}

// connected reports whether a proxy of that id is.
func (l *Ledger) connected(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.proxies[id] != nil
}

// count returns the number of connected proxies.
func (l *Ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.proxies)
}

// since is when the first stream of a proxy's connection began; zero if it is not connected.
func (l *Ledger) since(proxy string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.proxies[proxy]; p != nil {
		return p.streams[0].proxy.Since
	}
	return time.Time{}
}

// inherited reports whether any connected proxy had a resource of this name when it
// connected, and has it still.
func (l *Ledger) inherited(typeURL, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		if t := s.types[typeURL]; t != nil && t.inherited[name] != "" {
			return true
		}
	}
	return false
}
