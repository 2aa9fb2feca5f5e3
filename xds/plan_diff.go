package xds

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/xds/translate"
)

// The bounds of the diffs of one plan, in bytes. What is beyond them is counted.
const (
	maxDiff  = 64 << 10
	maxDiffs = 1 << 20
)

// changes gives the pairs in order, with their diffs.
func (p pairs) changes(ctx context.Context) ([]ResourceChange, error) {
	order := func(a, b key) int { return cmp.Or(cmp.Compare(a.typeURL, b.typeURL), cmp.Compare(a.name, b.name)) }
	out := make([]ResourceChange, 0, len(p))
	room := maxDiffs
	for _, k := range slices.SortedFunc(maps.Keys(p), order) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pair := p[k]
		c := ResourceChange{TypeURL: k.typeURL, Name: k.name, Action: Changed}
		switch {
		case pair.before == nil:
			c.Action = Added
		case pair.after == nil:
			c.Action = Removed
		}
		if room > 0 {
			diff, err := pair.diff()
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", typeName(k.typeURL), k.name, err)
			}
			c.Diff = cut(diff, min(maxDiff, room))
			room -= len(c.Diff)
		} else {
			c.Diff = "# left out: the plan is too long\n"
		}
		out = append(out, c)
	}
	return out, nil
}

// diff is empty for none. It is of the resource's own parts, but leaves the routes that stay out of a route table: with
// thousands of services they would be all that is seen, and most of the time.
func (p pair) diff() (string, error) {
	before, err := p.before.message()
	if err != nil {
		return "", err
	}
	after, err := p.after.message()
	if err != nil {
		return "", err
	}
	note := ""
	if a, ok := before.(*routev3.RouteConfiguration); ok {
		if b, ok := after.(*routev3.RouteConfiguration); ok {
			if n := leaveOut(a, b); n > 0 {
				note = fmt.Sprintf("# without the %d routes that stay as they are\n", n)
			}
		}
	}
	was, err := yamlOf(before)
	if err != nil {
		return "", err
	}
	is, err := yamlOf(after)
	if err != nil {
		return "", err
	}
	return note + udiff.Unified("in force", "planned", was, is), nil
}

// message is nil for nil.
func (r *resource) message() (proto.Message, error) {
	if r == nil {
		return nil, nil
	}
	return r.body.UnmarshalNew()
}

// yamlOf is empty for nil.
func yamlOf(m proto.Message) (string, error) {
	if m == nil {
		return "", nil
	}
	text, err := envoy.MarshalYAML(m)
	return string(text), err
}

// leaveOut takes the routes that are in both tables out of both, and the virtual hosts that are the same, and
// returns how many routes that were. Routes are in an order of their own, so that none that stays moves past another.
func leaveOut(before, after *routev3.RouteConfiguration) int {
	hosts := map[string]*routev3.VirtualHost{}
	for _, h := range before.GetVirtualHosts() {
		hosts[h.GetName()] = h
	}
	left := 0
	same := map[string]bool{}
	for _, h := range after.GetVirtualHosts() {
		old := hosts[h.GetName()]
		if old == nil {
			continue
		}
		n := leaveOutRoutes(old, h)
		left += n
		same[h.GetName()] = n > 0 && proto.Equal(old, h)
	}
	without := func(h *routev3.VirtualHost) bool { return same[h.GetName()] }
	before.VirtualHosts = slices.DeleteFunc(before.GetVirtualHosts(), without)
	after.VirtualHosts = slices.DeleteFunc(after.GetVirtualHosts(), without)
	return left
}

func leaveOutRoutes(before, after *routev3.VirtualHost) int {
	key := func(r *routev3.Route) string {
		// What was unmarshalled can be marshalled.
		b, _ := translate.Marshal(r)
		return string(b)
	}
	is := map[string]bool{}
	for _, r := range after.GetRoutes() {
		is[key(r)] = true
	}
	stays := map[string]bool{}
	before.Routes = slices.DeleteFunc(before.GetRoutes(), func(r *routev3.Route) bool {
		k := key(r)
		stays[k] = is[k]
		return is[k]
	})
	n := len(after.GetRoutes())
	after.Routes = slices.DeleteFunc(after.GetRoutes(), func(r *routev3.Route) bool { return stays[key(r)] })
	return n - len(after.GetRoutes())
}

// cut ends a text after at most n bytes, at a line's end, and says what is missing.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	kept := text[:strings.LastIndexByte(text[:n], '\n')+1]
	return kept + fmt.Sprintf("# left out: %d more\n", strings.Count(text[len(kept):], "\n"))
}
