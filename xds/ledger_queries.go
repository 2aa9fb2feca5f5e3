package xds

import "slices"

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

// proxyInherits is inherits for any stream of a proxy.
func (l *Ledger) proxyInherits(id, typeURL, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.proxies[id]
	return p != nil && slices.ContainsFunc(p.streams, func(s *streamState) bool { return s.types[typeURL].inherits(name) })
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

// acceptedByAny reports whether a stream has accepted a version.
func (l *Ledger) acceptedByAny(typeURL, name, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		if t := s.types[typeURL]; t != nil && t.accepted[name] == version {
			return true
		}
	}
	return false
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
