package xds

import "strings"

// refused returns the names that a NACK of that text refuses. Envoy applies what is
// good in a response of clusters or listeners and lists the others as "name: reason".
// A response is refused as a whole if the reason names none of its resources.
func (b batch) refused(text string) map[string]bool {
	refused := map[string]bool{}
	if text == "" {
		return refused
	}
	for _, listed := range []func(name string) bool{
		func(name string) bool { return mentions(text, name+":") },
		func(name string) bool { return mentions(text, name) },
		func(string) bool { return true },
	} {
		for name := range b.versions {
			if listed(name) {
				refused[name] = true
			}
		}
		if len(refused) > 0 {
			break
		}
	}
	return refused
}

// mentions reports whether Envoy's text names the resource, as a whole word.
func mentions(text, name string) bool {
	for rest := text; ; {
		i := strings.Index(rest, name)
		if i < 0 {
			return false
		}
		before := i == 0 || !isNameByte(rest[i-1])
		after := i+len(name) == len(rest) || !isNameByte(rest[i+len(name)])
		if before && after {
			return true
		}
		rest = rest[i+1:]
	}
}

func isNameByte(b byte) bool {
	return b == '-' || b == '_' || b == '.' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}
