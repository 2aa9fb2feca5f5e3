package xds

// notice wakes those who wait for a change. Its zero value is ready. The mutex that guards what changes guards it too.
type notice struct{ changed chan struct{} }

// wait returns a channel that is closed at the next change.
func (n *notice) wait() <-chan struct{} {
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.changed
}

// wake wakes those who wait now. It costs nothing if nobody does.
func (n *notice) wake() {
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}
