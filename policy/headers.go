package policy

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ownHeaders belong to the connection or to the framing of a message, or say what the
// gateway did: Envoy sets them itself.
var ownHeaders = []string{
	"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade",
	"x-circuit-breaker", "x-circuit-breaker-attempts", "x-correlation-id", "x-request-id",
}

// Bounds of the headers of a static reply. Envoy takes 16 KiB for a value, as it is
// escaped for it: up to 10 bytes for one.
const (
	maxHeaders     = 100
	maxHeaderValue = 1024 // bytes
)

// headerValues are the headers of a static reply, in ascending order of name.
type headerValues struct {
	meta
	V []Header
}

func (h *headerValues) decode(d *decoder, n *yaml.Node, path string, _ *field) {
	h.V = nil
	if n.Kind != yaml.MappingNode {
		d.report(d.at(n), path, "must be a map of names to values, not %s", describe(n))
		return
	}
	entries := d.entries(n, path, 0)
	if len(entries) > maxHeaders {
		d.report(d.at(n), path, "has %d items, more than %d", len(entries), maxHeaders)
	}
	for _, e := range entries {
		at := join(path, e.name)
		name := strings.ToLower(e.name)
		given, ok := d.value(e.value, at)
		value := given.text
		switch {
		case !ok:
		case !isToken(name):
			d.report(d.at(e.key), at, "is not a header name")
		case slices.Contains(ownHeaders, name):
			d.report(d.at(e.key), at, "can not be set: Envoy sets it itself")
		case len(value) > maxHeaderValue:
			d.report(d.at(e.value), at, "has %d bytes, more than %d", len(value), maxHeaderValue)
		case hasControl(value):
			d.report(d.at(e.value), at, "a header's value has no control characters")
		case slices.ContainsFunc(h.V, func(other Header) bool { return other.Name == name }):
			d.report(d.at(e.key), at, "is given twice")
		default:
			h.V = append(h.V, Header{Name: name, Value: strings.Trim(value, " ")})
		}
	}
	slices.SortFunc(h.V, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
}

func (h *headerValues) encode() *yaml.Node {
	n := mappingNode()
	for _, header := range h.V {
		appendField(n, header.Name, stringNode(header.Value))
	}
	return n
}
