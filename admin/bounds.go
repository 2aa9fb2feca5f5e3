package admin

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// Bounds on what an answer says that is no list and so has no pages. A gRPC client takes 4 MiB by default.
const (
	// maxPart is how many bytes of protobuf one list in an answer may have.
	maxPart = 1 << 20
	// maxIDs is how many proxies one element names.
	maxIDs = 100
	// maxAddresses is how many hosts the answer to a reset names before it, and as many after it.
	maxAddresses = 10_000
	// maxSaid is how many bytes of a text of one proxy's are passed on.
	maxSaid = 1024
)

// fit is as much of a list as fits into so many bytes, and how many elements are left out.
func fit[P proto.Message](list []P, bytes int) (fitting []P, more uint32) {
	for i, element := range list {
		if bytes -= proto.Size(element) + 5; bytes < 0 { // 5: its tag and its length
			return list[:i], uint32(len(list) - i)
		}
	}
	return list, 0
}

// fewIDs is the first of many ids, and how many are left out.
func fewIDs(ids []string) (few []string, more uint32) {
	if len(ids) <= maxIDs {
		return ids, 0
	}
	return ids[:maxIDs], uint32(len(ids) - maxIDs)
}

// brief is at most maxSaid bytes of a text.
func brief(text string) string {
	if len(text) <= maxSaid {
		return text
	}
	end := maxSaid - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// boundReset leaves addresses out of an answer that would name too many.
func boundReset(r *adminpb.ResetBreakerResponse) {
	each := maxAddresses / max(len(r.GetProxies()), 1)
	for _, p := range r.GetProxies() {
		var left []string
		for _, list := range []struct {
			addresses *[]string
			when      string
		}{{&p.EjectedBefore, "before"}, {&p.EjectedAfter, "after"}} {
			if n := len(*list.addresses); n > each {
				left = append(left, fmt.Sprintf("%d hosts were ejected %s", n, list.when))
				*list.addresses = (*list.addresses)[:each]
			}
		}
		if len(left) > 0 {
			p.Note = strings.Join(append(left, p.GetNote()), "; ")
		}
	}
}

// boundedBreaker is as much of a breaker as has room beside other parts of an answer.
func boundedBreaker(b *adminpb.Breaker) *adminpb.Breaker {
	if proto.Size(b) > maxPart {
		for _, p := range b.GetProxies() {
			p.Hosts = nil
		}
	}
	head, _ := split(b, maxPart)
	return head
}
