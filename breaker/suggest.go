package breaker

import (
	"fmt"

	"github.com/breakwater/breakwater/policy"
)

// UnknownService is ErrUnknownService with the name, and with the service that was probably meant. Set may be nil.
func UnknownService(name string, set *policy.Set) error {
	var names []string
	if set != nil {
		for _, svc := range set.Services {
			names = append(names, svc.Name)
		}
	}
	return fmt.Errorf("%w: %s", ErrUnknownService, withSuggestion(name, names))
}

// UnknownProxy is ErrUnknownProxy with the id, and with the one of known that was probably meant.
func UnknownProxy(id string, known []string) error {
	return fmt.Errorf("%w: %s", ErrUnknownProxy, withSuggestion(id, known))
}

func withSuggestion(name string, known []string) string {
	if near := policy.Nearest(name, known); near != "" {
		return fmt.Sprintf("%s; did you mean %s?", name, near)
	}
	return name
}

func ids(watchers []*watcher) []string {
	out := make([]string, len(watchers))
	for i, w := range watchers {
		out[i] = w.proxy.ID
	}
	return out
}
