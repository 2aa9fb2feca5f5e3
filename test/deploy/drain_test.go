package deploy

import (
	"os"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// An Envoy that is ended breaks off what it is about. The Service leads no new connection to a pod that ends, so it has
// to live on for as long as a request of before may take.
func TestPodEndsAfterItsRequests(t *testing.T) {
	for _, name := range []string{"base", "demo"} {
		all := kustomize(t, name)
		policies, ok := find(all, "ConfigMap", "policies")
		if !ok {
			t.Fatalf("%s: no policies", name)
		}
		var files []policy.File
		for file, text := range policies.Data {
			files = append(files, policy.File{Name: file, Data: []byte(text)})
		}
		set, problems := policy.Build(files, os.LookupEnv, nil)
		if len(set.Services) == 0 {
			t.Fatalf("%s: no services: %v", name, problems)
		}
		m, ok := find(all, "Deployment", "envoy")
		if !ok {
			t.Fatalf("%s: no Envoy", name)
		}
		pod := m.Spec.Template.Spec
		stop := time.Duration(pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
		for _, s := range set.Services {
			if longest := s.Timeout.Request; !longest.Set || stop <= longest.D {
				t.Errorf("%s: a pod ends %v after it was told to, and a request to %s may take %+v", name, stop, s.Name, longest)
			}
		}
		if grace := time.Duration(pod.GraceSeconds) * time.Second; grace <= stop {
			t.Errorf("%s: a pod is killed after %v, before the %v are over", name, grace, stop)
		}
	}
}
