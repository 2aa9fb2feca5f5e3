package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxItems bounds the length of every list.
const maxItems = 1000

// items calls fn for each scalar of the list n. Errors of fn are reported at the
// item; it gives the item's value in normal form, of which no two may be equal.
func (d *decoder) items(n *yaml.Node, path string, f *field, fn func(text string, k kind) (string, error)) []string {
	list, ok := d.sequence(n, path, f)
	if !ok {
		return nil
	}
	values := make([]string, 0, len(list))
	for i, item := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		text, ok := d.value(item, at)
		if !ok {
			continue
		}
		value, err := fn(text.text, text.kind)
		switch {
		case err != nil:
			d.reject(item, at, text, err)
		case slices.Contains(values, value):
			d.reject(item, at, text, misfitf("%s is given twice", barePart(value)))
		default:
			values = append(values, value)
		}
	}
	return values
}

// sequence gives the nodes of the list n.
func (d *decoder) sequence(n *yaml.Node, path string, f *field) ([]*yaml.Node, bool) {
	switch {
	case n.Kind != yaml.SequenceNode:
		d.report(d.at(n), path, "must be a list, such as [a, b], not %s", describe(n))
		return nil, false
	case len(n.Content) == 0 && !f.empty:
		d.report(d.at(n), path, "must not be empty")
		return nil, false
	case len(n.Content) > maxItems:
		d.report(d.at(n), path, "has %d items, more than %d", len(n.Content), maxItems)
	}
	list := make([]*yaml.Node, min(len(n.Content), maxItems))
	for i := range list {
		list[i] = deref(n.Content[i])
	}
	return list, true
}

// parseWords reads a list that is written in one word, with commas.
func parseWords(s string, k kind, parse func(string, kind) (string, error)) ([]string, error) {
	words := strings.Split(s, ",")
	for i, w := range words {
		var err error
		if words[i], err = parse(w, k); err != nil {
			return nil, err
		}
	}
	return words, nil
}

func encodeList(values []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
	for _, v := range values {
		n.Content = append(n.Content, stringNode(v))
	}
	return n
}

// knownConditions are Envoy's x-envoy-retry-on and x-envoy-retry-grpc-on values
// that a route's retry policy can hold without more configuration.
var knownConditions = []string{
	"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited",
	"retriable-4xx", "refused-stream", "http3-post-connect-failure",
	"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}

// conditions are the conditions of a retry.
type conditions struct {
	meta
	V []string
}

func parseCondition(s string, _ kind) (string, error) {
	if isDigits(s) {
		if status, err := parseStatus(s, 400); err == nil {
			return strconv.Itoa(int(status)), nil
		}
		return "", misfitf("status %s can not be retried: 400 to 599 can", barePart(s))
	}
	if slices.Contains(knownConditions, s) {
		return s, nil
	}
	if near := meant(s, knownConditions); near != "" {
		return "", misfitf("unknown condition %s%s", quotedPart(s), near)
	}
	return "", misfitf("unknown condition %s: a status, or one of %s", quotedPart(s), strings.Join(knownConditions, ", "))
}

func (c *conditions) parse(s string, k kind, _ *field) (err error) {
	c.V, err = parseWords(s, k, parseCondition)
	return err
}

func (c *conditions) decode(d *decoder, n *yaml.Node, path string, f *field) {
	c.V = d.items(n, path, f, parseCondition)
}

func (c *conditions) encode() *yaml.Node { return encodeList(c.V) }

// knownMethods are the methods that Envoy accepts, without CONNECT, which a route
// of this kind can not match.
var knownMethods = []string{
	"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
	"ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE",
	"NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE",
	"UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
}

// methods are request methods, in upper case.
type methods struct {
	meta
	V []string
}

func parseMethod(s string, _ kind) (string, error) {
	if slices.Contains(knownMethods, s) {
		return s, nil
	}
	return "", misfitf("unknown method %s%s", quotedPart(s), meant(strings.ToUpper(s), knownMethods))
}

func (m *methods) parse(s string, k kind, _ *field) (err error) {
	m.V, err = parseWords(s, k, parseMethod)
	return err
}

func (m *methods) decode(d *decoder, n *yaml.Node, path string, f *field) {
	m.V = d.items(n, path, f, parseMethod)
}

func (m *methods) encode() *yaml.Node { return encodeList(m.V) }

// hostNames are the hosts of a route.
type hostNames struct {
	meta
	V []string
}

func parseRouteHost(s string, _ kind) (string, error) {
	s = strings.ToLower(s)
	name := strings.TrimPrefix(s, "*.")
	if s == "*" {
		return "", fmt.Errorf("leave hosts out for every host")
	}
	if addr, ok := routeAddress(s); ok {
		return addr, nil
	}
	if isHostName(name) && !strings.HasSuffix(name, ".") {
		return s, nil
	}
	return "", misfitf("%s is not a host name, exact or as *.suffix, without a port", quotedPart(s))
}

// routeAddress gives an IP address as it stands in a Host header, IPv6 in brackets.
func routeAddress(s string) (string, bool) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	addr, err := netip.ParseAddr(bare)
	switch {
	case err != nil || addr.Zone() != "":
		return "", false
	case addr.Is6():
		return "[" + addr.String() + "]", true
	}
	return s, bare == s
}

func (h *hostNames) decode(d *decoder, n *yaml.Node, path string, f *field) {
	h.V = d.items(n, path, f, parseRouteHost)
}

func (h *hostNames) encode() *yaml.Node { return encodeList(h.V) }

// statuses are ranges of response statuses, in ascending order.
type statuses struct {
	meta
	V []StatusRange
}

func parseStatus(s string, lowest uint64) (uint16, error) {
	v, err := strconv.ParseUint(s, 10, 16)
	if err != nil || v < lowest || v > 599 || len(s) != 3 {
		return 0, misfitf("%s is not a status from %d to 599", quotedPart(s), lowest)
	}
	return uint16(v), nil
}

func parseStatusRange(s string) (StatusRange, error) {
	malformed := misfitf("%s is not a status: 429, a class such as 5xx, or a range such as 500-503", quotedPart(s))
	if class, ok := strings.CutSuffix(s, "xx"); ok {
		from, err := parseStatus(class+"00", 100)
		if err != nil {
			return StatusRange{}, malformed
		}
		return StatusRange{From: from, To: from + 99}, nil
	}
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	from, err := parseStatus(first, 100)
	if err != nil {
		return StatusRange{}, malformed
	}
	to, err := parseStatus(last, 100)
	if err != nil {
		return StatusRange{}, malformed
	}
	if to < from {
		return StatusRange{}, misfitf("the range %s ends before it begins", barePart(s))
	}
	return StatusRange{From: from, To: to}, nil
}

func (r *statuses) decode(d *decoder, n *yaml.Node, path string, f *field) {
	r.V = nil
	d.items(n, path, f, func(s string, _ kind) (string, error) {
		v, err := parseStatusRange(s)
		if err == nil && !slices.Contains(r.V, v) {
			r.V = append(r.V, v)
		}
		return v.String(), err
	})
	slices.SortFunc(r.V, func(a, b StatusRange) int {
		return (int(a.From)-int(b.From))*1000 + int(a.To) - int(b.To)
	})
}

func (r *statuses) encode() *yaml.Node {
	values := make([]string, len(r.V))
	for i, v := range r.V {
		values[i] = v.String()
	}
	return encodeList(values)
}

// String gives the range in the user's notation, such as 5xx, 429 or 500-503.
func (r StatusRange) String() string {
	switch {
	case r.From == r.To:
		return strconv.Itoa(int(r.From))
	case r.From%100 == 0 && r.To == r.From+99:
		return fmt.Sprintf("%dxx", r.From/100)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}
