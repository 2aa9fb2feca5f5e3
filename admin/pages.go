package admin

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// Bounds on one answer that lists something, in bytes of protobuf. A gRPC client takes 4 MiB by default; a client of
// HTTP takes what comes, so it gets everything unless that is out of all proportion.
const (
	maxPage     = 1 << 20
	maxHTTPPage = 16 << 20
)

// pageRequest is a request for a page (aip.dev/158).
type pageRequest interface {
	GetPageSize() int32
	GetPageToken() string
}

// pager fills one page. Its zero value is not usable.
type pager struct {
	// after is the key of the last element of the page before; empty for the first page.
	after string
	// last is the key of the last element that was added, or after.
	last string
	// elements and bytes are what there is room for; elements is -1 for no bound.
	elements, bytes int
	// empty is true until an element was added.
	empty bool
}

// newPager returns a status if the request is not valid.
func (s *service) newPager(req pageRequest) (*pager, error) {
	p := &pager{elements: int(req.GetPageSize()), bytes: s.pageBytes, empty: true}
	switch {
	case p.elements < 0:
		return nil, status.Errorf(codes.InvalidArgument, "page_size %d is negative", p.elements)
	case p.elements == 0:
		p.elements = -1
	}
	after, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "page_token %q is not from an answer of this server", req.GetPageToken())
	}
	p.after, p.last = string(after), string(after)
	return p, nil
}

// take reports whether there is room for an element of so many bytes, and takes the room. There is always room for the
// first, for else no page would ever have it.
func (p *pager) take(key string, size int) bool {
	size += 5 // its tag and its length
	if !p.empty && (p.elements == 0 || p.bytes < size) {
		return false
	}
	p.empty = false
	p.elements--
	p.bytes -= size
	p.last = key
	return true
}

// next is the page_token that goes on behind the last element.
func (p *pager) next() string { return base64.RawURLEncoding.EncodeToString([]byte(p.last)) }

// keySeparator joins the parts of a key so that keys are in the order of their parts.
const keySeparator = "\x00"

func keyOf(parts ...string) string { return strings.Join(parts, keySeparator) }

// fillPage converts the elements of one page, and gives the token of the next. The list is in ascending order of key.
func fillPage[M any, P proto.Message](p *pager, list []M, key func(M) string, convert func(M) P) (elements []P, next string) {
	first := 0
	if p.after != "" {
		i, found := slices.BinarySearchFunc(list, p.after, func(m M, after string) int { return cmp.Compare(key(m), after) })
		if first = i; found {
			first++
		}
	}
	for _, m := range list[first:] {
		element := convert(m)
		if !p.take(key(m), proto.Size(element)) {
			return elements, p.next()
		}
		elements = append(elements, element)
	}
	return elements, ""
}

// split returns the breaker with as many proxies as fit into so many bytes, at least one, and one with the others; nil if
// all fit.
func split(b *adminpb.Breaker, bytes int) (head, rest *adminpb.Breaker) {
	if len(b.GetProxies()) < 2 || proto.Size(b) <= bytes {
		return b, nil
	}
	head = withProxies(b, nil)
	bytes -= proto.Size(head)
	n := 0
	for _, p := range b.GetProxies() {
		if bytes -= proto.Size(p) + 5; bytes < 0 && n > 0 {
			break
		}
		n++
	}
	if n == len(b.GetProxies()) {
		return b, nil
	}
	head.Proxies = b.GetProxies()[:n]
	rest = withProxies(b, b.GetProxies()[n:])
	rest.Continued = true
	return head, rest
}

// withProxies is b with other proxies.
func withProxies(b *adminpb.Breaker, proxies []*adminpb.ProxyBreaker) *adminpb.Breaker {
	return &adminpb.Breaker{
		Service: b.GetService(), State: b.GetState(), Summary: b.GetSummary(), Overview: b.GetOverview(),
		Proxies: proxies, Continued: b.GetContinued(),
	}
}
