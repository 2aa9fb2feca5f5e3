package policy

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// routeList is the list of a service's routes.
type routeList struct {
	meta
	V []Route
}

func (r *routeList) decode(d *decoder, n *yaml.Node, path string, f *field) {
	r.V = nil
	list, _ := d.sequence(n, path, f)
	for i, item := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		before := d.found.n
		var doc routeDocument
		d.section(routePlan, reflect.ValueOf(&doc).Elem(), item, at)
		if d.found.n > before {
			continue
		}
		route, err := doc.route()
		if err != nil {
			d.report(d.at(item), at, "%s", err)
			continue
		}
		route.Position = d.at(item)
		if slices.ContainsFunc(r.V, func(other Route) bool { return equalRoutes(route, other) }) {
			d.report(d.at(item), at, "is the same as another route of this service")
			continue
		}
		r.V = append(r.V, route)
	}
}

func (r *routeList) encode() *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, route := range r.V {
		n := mappingNode()
		appendField(n, string(route.Match), stringNode(route.Value))
		if len(route.Hosts) > 0 {
			appendField(n, "hosts", encodeList(route.Hosts))
		}
		if len(route.Methods) > 0 {
			appendField(n, "methods", encodeList(route.Methods))
		}
		if len(route.Headers) > 0 {
			appendField(n, "headers", (&headerConditions{V: route.Headers}).encode())
		}
		if route.Rewrite != "" {
			appendField(n, "rewrite", stringNode(route.Rewrite))
		}
		list.Content = append(list.Content, n)
	}
	return list
}

// equalRoutes reports whether a and b match exactly the same requests.
func equalRoutes(a, b Route) bool {
	return a.Match == b.Match && a.Value == b.Value && equalSets(a.Hosts, b.Hosts) &&
		equalSets(a.Methods, b.Methods) && slices.Equal(a.Headers, b.Headers)
}

func equalSets(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

func (doc *routeDocument) route() (Route, error) {
	r := Route{
		Hosts: doc.Hosts.V, Methods: doc.Methods.V, Headers: doc.Headers.V, Rewrite: doc.Rewrite.V,
	}
	given := 0
	for match, value := range map[PathMatch]text{MatchPrefix: doc.Prefix, MatchPath: doc.Path, MatchRegex: doc.Regex} {
		if value.Set {
			given++
			r.Match, r.Value = match, value.V
		}
	}
	if given != 1 {
		return r, fmt.Errorf("needs exactly one of prefix, path and regex, not %d", given)
	}
	if r.Match == MatchRegex {
		return r, checkRegexRoute(r)
	}
	if err := checkPath(r.Value); err != nil {
		return r, fmt.Errorf("%s: %w", r.Match, err)
	}
	if err := checkReachable(r.Value); err != nil {
		return r, fmt.Errorf("%s: %w", r.Match, err)
	}
	if doc.Rewrite.Set {
		if err := checkPath(r.Rewrite); err != nil {
			return r, fmt.Errorf("rewrite: %w", err)
		}
	}
	if r.Match == MatchPrefix && r.Value != "/" {
		r.Value = strings.TrimSuffix(r.Value, "/")
	}
	return r, nil
}

// checkPath checks a path of a request, without a query.
func checkPath(s string) error {
	switch {
	case !strings.HasPrefix(s, "/"):
		return fmt.Errorf("must begin with /, not %q", s)
	case strings.ContainsAny(s, "?#"):
		return fmt.Errorf("%q has a query or fragment: only the path is compared", s)
	case strings.Contains(s, "//"):
		return fmt.Errorf("%q has an empty segment", s)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("%q has a character that a path can not have: escape it as %%XX", s)
	}
	return nil
}

// checkReachable refuses a path that no request has once Envoy has put it in normal
// form: it resolves . and .., and decodes an escaped slash.
func checkReachable(s string) error {
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("%q has the segment %s, which no request has when it is compared", s, segment)
		}
	}
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return nil
		}
		if len(after) < 2 || strings.Trim(after[:2], "0123456789abcdefABCDEF") != "" {
			return fmt.Errorf("%q has a %% that is not followed by two hexadecimal digits", s)
		}
		switch code := after[:2]; strings.ToLower(code) {
		case "2f", "5c":
			return fmt.Errorf("%q has an escaped slash, %%%s, which no request has when it is compared", s, code)
		}
		rest = after[2:]
	}
}

func checkRegexRoute(r Route) error {
	re, err := compileExpression(r.Value)
	if err != nil {
		return fmt.Errorf("regex: %w", err)
	}
	// A rewrite needs the expression within another.
	if _, err := regexp.Compile("^(?:" + r.Value + ")$"); err != nil && r.Rewrite != "" {
		return fmt.Errorf("regex: \\Q has no \\E, which it needs beside rewrite")
	}
	for i := 0; i < len(r.Rewrite); i++ {
		if r.Rewrite[i] != '\\' {
			continue
		}
		i++
		if i == len(r.Rewrite) {
			return fmt.Errorf("rewrite: ends in a single \\: write \\\\ for the character itself")
		}
		if c := r.Rewrite[i]; c != '\\' && (c < '0' || c > '9' || int(c-'0') > re.NumSubexp()) {
			return fmt.Errorf("rewrite: \\%c names no group of the regex, which has %d", c, re.NumSubexp())
		}
	}
	if hasControl(r.Rewrite) || (r.Rewrite != "" && r.Rewrite[0] != '/' && r.Rewrite[0] != '\\') {
		return fmt.Errorf("rewrite: must begin with / or a group such as \\1, not %q", r.Rewrite)
	}
	return nil
}

// regexError shortens an error of package regexp.
func regexError(err error) string {
	return "not a valid RE2 expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// headerConditions are the conditions on a request's headers.
type headerConditions struct {
	meta
	V []HeaderMatch
}

func (h *headerConditions) decode(d *decoder, n *yaml.Node, path string, f *field) {
	h.V = nil
	list, _ := d.sequence(n, path, f)
	for i, item := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		before := d.found.n
		var doc headerDocument
		d.section(headerPlan, reflect.ValueOf(&doc).Elem(), item, at)
		if d.found.n > before {
			continue
		}
		match, err := doc.match()
		switch {
		case err != nil:
			d.report(d.at(item), at, "%s", err)
		case slices.Contains(h.V, match):
			d.report(d.at(item), at, "is given twice")
		default:
			h.V = append(h.V, match)
		}
	}
}

func (doc *headerDocument) match() (HeaderMatch, error) {
	m := HeaderMatch{
		Name: strings.ToLower(doc.Name.V), Exact: doc.Exact.V, Prefix: doc.Prefix.V, Regex: doc.Regex.V,
		Present: doc.Present.V, Invert: doc.Invert.V,
	}
	given := 0
	for _, set := range []bool{doc.Exact.Set, doc.Prefix.Set, doc.Regex.Set, doc.Present.Set} {
		if set {
			given++
		}
	}
	switch {
	case !isToken(m.Name):
		return m, fmt.Errorf("%q is not a header name", doc.Name.V)
	case strings.Contains(m.Name, "_"):
		return m, fmt.Errorf("%q has an underscore: the gateway drops such headers, so that none can be compared", doc.Name.V)
	case given != 1:
		return m, fmt.Errorf("needs exactly one of exact, prefix, regex and present, not %d", given)
	case doc.Present.Set && !doc.Present.V:
		return m, fmt.Errorf("present can only be true: use invert for a header that must be absent")
	case hasControl(m.Exact) || hasControl(m.Prefix):
		return m, fmt.Errorf("a header's value has no control characters")
	}
	if doc.Regex.Set {
		if _, err := compileExpression(m.Regex); err != nil {
			return m, fmt.Errorf("regex: %w", err)
		}
	}
	return m, nil
}

func (h *headerConditions) encode() *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, m := range h.V {
		n := mappingNode()
		appendField(n, "name", stringNode(m.Name))
		switch {
		case m.Exact != "":
			appendField(n, "exact", stringNode(m.Exact))
		case m.Prefix != "":
			appendField(n, "prefix", stringNode(m.Prefix))
		case m.Regex != "":
			appendField(n, "regex", stringNode(m.Regex))
		default:
			appendField(n, "present", scalarNode("true"))
		}
		if m.Invert {
			appendField(n, "invert", scalarNode("true"))
		}
		list.Content = append(list.Content, n)
	}
	return list
}

// isToken reports whether s can be a header's name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r)
	})
}
