package policy

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"regexp/syntax"
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
		route := doc.route(func(m *meta, err error) { d.report(d.at(item), at, "%s", about(err, m.written)) })
		if d.found.n > before {
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

// route gives the route, and calls fail with each value that is at fault.
func (doc *routeDocument) route(fail func(m *meta, err error)) Route {
	r := Route{
		Hosts: doc.Hosts.V, Methods: doc.Methods.V, Headers: doc.Headers.V, Rewrite: doc.Rewrite.V,
	}
	given := 0
	var value *text
	for _, f := range []struct {
		match PathMatch
		value *text
	}{{MatchPrefix, &doc.Prefix}, {MatchPath, &doc.Path}, {MatchRegex, &doc.Regex}} {
		if f.value.given() {
			given++
			r.Match, r.Value, value = f.match, f.value.V, f.value
		}
	}
	if given != 1 {
		fail(&meta{}, fmt.Errorf("needs exactly one of prefix, path and regex, not %d", given))
		return r
	}
	if r.Match == MatchRegex {
		doc.regex(fail)
		return r
	}
	if value.Set {
		if err := cmp.Or(checkPath(r.Value), checkReachable(r.Value)); err != nil {
			fail(&value.meta, misfitf("%s: %s", r.Match, err))
		}
	}
	if doc.Rewrite.Set {
		if err := checkPath(r.Rewrite); err != nil {
			fail(&doc.Rewrite.meta, misfitf("rewrite: %s", err))
		}
	}
	if r.Match == MatchPrefix && r.Value != "/" {
		r.Value = strings.TrimSuffix(r.Value, "/")
	}
	return r
}

// regex checks a route with an expression.
func (doc *routeDocument) regex(fail func(m *meta, err error)) {
	var re *regexp.Regexp
	if doc.Regex.Set {
		var err error
		if re, err = compileExpression(doc.Regex.V); err != nil {
			fail(&doc.Regex.meta, misfitf("regex: %s", err))
		} else if _, err := regexp.Compile("^(?:" + doc.Regex.V + ")$"); err != nil && doc.Rewrite.given() {
			// A rewrite needs the expression within another.
			fail(&doc.Regex.meta, errors.New("regex: \\Q has no \\E, which it needs beside rewrite"))
		}
	}
	if doc.Rewrite.Set {
		if err := checkSubstitution(doc.Rewrite.V, re); err != nil {
			fail(&doc.Rewrite.meta, misfitf("rewrite: %s", err))
		}
	}
}

// checkPath checks a path of a request, without a query.
func checkPath(s string) error {
	switch {
	case !strings.HasPrefix(s, "/"):
		return misfitf("must begin with /, not %s", quotedPart(s))
	case strings.ContainsAny(s, "?#"):
		return misfitf("%s has a query or fragment: only the path is compared", quotedPart(s))
	case strings.Contains(s, "//"):
		return misfitf("%s has an empty segment", quotedPart(s))
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return misfitf("%s has a character that a path can not have: escape it as %%XX", quotedPart(s))
	}
	return nil
}

// checkReachable refuses a path that no request has once Envoy has put it in normal
// form: it resolves . and .., and decodes an escaped slash.
func checkReachable(s string) error {
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "." || segment == ".." {
			return misfitf("%s has the segment %s, which no request has when it is compared", quotedPart(s), segment)
		}
	}
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return nil
		}
		if len(after) < 2 || strings.Trim(after[:2], "0123456789abcdefABCDEF") != "" {
			return misfitf("%s has a %% that is not followed by two hexadecimal digits", quotedPart(s))
		}
		switch code := after[:2]; strings.ToLower(code) {
		case "2f", "5c":
			return misfitf("%s has an escaped slash, %%%s, which no request has when it is compared", quotedPart(s), code)
		}
		rest = after[2:]
	}
}

// checkSubstitution checks what replaces a path that an expression matches; re is nil if it is not known.
func checkSubstitution(s string, re *regexp.Regexp) error {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		if i == len(s) {
			return fmt.Errorf("ends in a single \\: write \\\\ for the character itself")
		}
		if c := s[i]; c != '\\' && (c < '0' || c > '9' || re != nil && int(c-'0') > re.NumSubexp()) {
			return misfitf("%s names no group of the regex%s", barePart(s[i-1:i+1]), groups(re))
		}
	}
	if hasControl(s) || (s != "" && s[0] != '/' && s[0] != '\\') {
		return misfitf("must begin with / or a group such as \\1, not %s", quotedPart(s))
	}
	return nil
}

// groups says how many groups an expression has.
func groups(re *regexp.Regexp) string {
	if re == nil {
		return ""
	}
	return fmt.Sprintf(", which has %d", re.NumSubexp())
}

// regexError shortens an error of package regexp.
func regexError(err error) error {
	var e *syntax.Error
	if !errors.As(err, &e) {
		return misfitf("not a valid RE2 expression: %s", barePart(err.Error()))
	}
	return misfitf("not a valid RE2 expression: %s: %s", e.Code, quotedPart(e.Expr))
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
		match := doc.match(func(m *meta, err error) { d.report(d.at(item), at, "%s", about(err, m.written)) })
		switch {
		case d.found.n > before:
		case slices.Contains(h.V, match):
			d.report(d.at(item), at, "is given twice")
		default:
			h.V = append(h.V, match)
		}
	}
}

// match gives the condition, and calls fail with each value that is at fault.
func (doc *headerDocument) match(fail func(m *meta, err error)) HeaderMatch {
	m := HeaderMatch{
		Name: strings.ToLower(doc.Name.V), Exact: doc.Exact.V, Prefix: doc.Prefix.V, Regex: doc.Regex.V,
		Present: doc.Present.V, Invert: doc.Invert.V,
	}
	given := 0
	for _, f := range []*meta{&doc.Exact.meta, &doc.Prefix.meta, &doc.Regex.meta, &doc.Present.meta} {
		if f.given() {
			given++
		}
	}
	if given != 1 {
		fail(&meta{}, fmt.Errorf("needs exactly one of exact, prefix, regex and present, not %d", given))
	}
	switch {
	case !doc.Name.Set:
	case !isToken(m.Name):
		fail(&doc.Name.meta, misfitf("%s is not a header name", quotedPart(doc.Name.V)))
	case strings.Contains(m.Name, "_"):
		fail(&doc.Name.meta, misfitf("%s has an underscore: the gateway drops such headers, so that none can be compared", quotedPart(doc.Name.V)))
	}
	if doc.Present.Set && !doc.Present.V {
		fail(&doc.Present.meta, fmt.Errorf("present can only be true: use invert for a header that must be absent"))
	}
	for _, f := range []*text{&doc.Exact, &doc.Prefix} {
		if hasControl(f.V) {
			fail(&f.meta, fmt.Errorf("a header's value has no control characters"))
		}
	}
	if doc.Regex.Set {
		if _, err := compileExpression(m.Regex); err != nil {
			fail(&doc.Regex.meta, misfitf("regex: %s", err))
		}
	}
	return m
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
