package policy

import (
	"strings"
	"testing"
)

func TestDefaultsFaultKeepsDefaults(t *testing.T) {
	first := directory{"defaults.yaml": "retry: {max_retries: 1}\n", "a.yaml": doc("a")}.good(t, nil)
	for name, content := range map[string]string{
		"value": "retry: {max_retries: many}\n", "syntax": "retry: [\n", "conflict": "retry: {base_delay: 2s, max_delay: 1s}\n",
		"emptied": "", "two documents": "retry: off\n---\nretry: off\n", "not a map": "5\n",
	} {
		t.Run(name, func(t *testing.T) {
			set, problems := directory{"defaults.yaml": content, "a.yaml": doc("a", "breaker: {timeout: 5s}")}.build(t, first)
			if len(problems) != 1 {
				t.Fatalf("problems:\n%s", joinProblems(problems))
			}
			wantServices(t, set, "a")
			a := set.Lookup("a")
			if a.Retry.MaxRetries != 1 || a.Breaker.Timeout.Seconds() != 5 {
				t.Errorf("max_retries %d, timeout %s", a.Retry.MaxRetries, a.Breaker.Timeout)
			}
			start, _ := directory{"defaults.yaml": content, "a.yaml": doc("a")}.build(t, nil)
			if start.Lookup("a").Retry.MaxRetries != 3 {
				t.Error("without a last good version some of a faulty defaults.yaml is in force")
			}
		})
	}
}

// TestProfileFaultKeepsTheFile: defaults.yaml with an error in one profile stays as it was, the other profiles and what all
// share among it.
func TestProfileFaultKeepsTheFile(t *testing.T) {
	services := doc("a", "profile: one") + "---\n" + doc("b", "profile: two") + "---\n" + doc("c")
	first := directory{
		"defaults.yaml": "retry: {max_retries: 1}\nprofiles:\n  one: {retry: {max_retries: 2}}\n  two: {retry: {max_retries: 3}}\n",
		"all.yaml":      services,
	}.good(t, nil)
	faulty := directory{
		"defaults.yaml": "retry: {max_retries: 5}\nprofiles:\n  one: {retry: {max_retries: -2}}\n  two: {retry: {max_retries: 6}}\n  three: {retry: {max_retries: 7}}\n",
		"all.yaml":      services,
	}
	set, problems := faulty.build(t, first)
	wantProblems(t, problems, "defaults.yaml:3:30: profiles.one.retry.max_retries")
	wantServices(t, set, "a", "b", "c")
	for name, want := range map[string]uint32{"a": 2, "b": 3, "c": 1} {
		if set.Lookup(name) != first.Lookup(name) {
			t.Errorf("%s: max_retries %d, want the pointer from before, with %d", name, set.Lookup(name).Retry.MaxRetries, want)
		}
	}
	// What is stored is the file from before.
	stored := directory{}
	for _, f := range set.Files() {
		stored[f.Name] = string(f.Data)
	}
	if restarted := stored.good(t, nil); restarted.Digest != set.Digest {
		t.Error("a restart changes what is in force")
	}
	// A service edited meanwhile has its profile from before, and a profile of the file with the error is not there yet.
	faulty["b.yaml"] = doc("b", "profile: two", "timeout: {connect: 1s}")
	faulty["all.yaml"] = doc("a", "profile: one") + "---\n" + doc("c") + "---\n" + doc("d", "profile: three")
	set, problems = faulty.build(t, set)
	wantProblems(t, problems, "profile: there is no profile three in force: defaults.yaml has an error", "defaults.yaml:3:30: profiles.one.retry.max_retries")
	wantServices(t, set, "a", "b", "c")
	if b := set.Lookup("b"); b.Retry.MaxRetries != 3 || b.Timeout.Connect.Seconds() != 1 {
		t.Errorf("b: max_retries %d, timeout.connect %s", b.Retry.MaxRetries, b.Timeout.Connect)
	}
	faulty["defaults.yaml"] = strings.Replace(faulty["defaults.yaml"], "-2", "4", 1)
	set = faulty.good(t, set)
	for name, want := range map[string]uint32{"a": 4, "b": 6, "c": 5, "d": 7} {
		if got := set.Lookup(name).Retry.MaxRetries; got != want {
			t.Errorf("mended: %s: max_retries %d, want %d", name, got, want)
		}
	}
	// At a start there is no last good version, so its services are left out.
	set, _ = directory{
		"defaults.yaml": "profiles:\n  one: {retry: {max_retries: -2}}\n", "all.yaml": doc("a", "profile: one") + "---\n" + doc("c"),
	}.build(t, nil)
	wantServices(t, set, "c")
	// A profile that is gone while a service names it.
	set, problems = directory{"defaults.yaml": "retry: off\n", "all.yaml": services}.build(t, first)
	wantProblems(t, problems, "there is no profile one", "there is no profile two")
	wantServices(t, set, "a*", "b*", "c")
	if set.Lookup("a").Retry.MaxRetries != 2 {
		t.Error("a is not its last good version")
	}
}

// TestFallbackOfKeptDefaults: what stands in a defaults.yaml that is no longer there is reported at the service.
func TestFallbackOfKeptDefaults(t *testing.T) {
	d := directory{"defaults.yaml": "\nprofiles:\n  x: {fallback: {service: b}}\n", "a.yaml": doc("a", "profile: x"), "b.yaml": doc("b")}
	first := d.good(t, nil)
	d["defaults.yaml"] = "profiles: 5\n"
	delete(d, "b.yaml")
	set, problems := d.build(t, first)
	wantProblems(t, problems,
		"a.yaml:1:1: fallback.service: there is no service b (set in the last good version of defaults.yaml)",
		"defaults.yaml:1:11: profiles: must be a map of names to settings")
	wantServices(t, set, "a")
}

func TestProfileThatContradictsNewDefaultsKeepsTheFile(t *testing.T) {
	services := doc("a", "profile: slow") + "---\n" + doc("b")
	first := directory{
		"defaults.yaml": "profiles:\n  slow: {retry: {base_delay: 2s}}\n", "all.yaml": services,
	}.good(t, nil)
	set, problems := directory{
		"defaults.yaml": "retry: {max_delay: 1s}\nprofiles:\n  slow: {retry: {base_delay: 2s}}\n", "all.yaml": services,
	}.build(t, first)
	wantProblems(t, problems, "profiles.slow.retry.base_delay: 2s must not be over retry.max_delay, which is 1s (set at defaults.yaml:1:20)")
	wantServices(t, set, "a", "b")
	if a, b := set.Lookup("a"), set.Lookup("b"); a.Retry.MaxDelay.Seconds() != 10 || b.Retry.MaxDelay.Seconds() != 10 {
		t.Errorf("max_delay of a %s, of b %s", a.Retry.MaxDelay, b.Retry.MaxDelay)
	}
}

func TestDefaultsThatSomeServicesContradict(t *testing.T) {
	services := doc("a", "breaker: {failure_threshold: 20}", "fallback: {service: b}") + "---\n" + doc("b")
	first := directory{"all.yaml": services}.good(t, nil)
	set, problems := directory{
		"defaults.yaml": "breaker: {window_size: 10}\nhealth_check: {path: /}\nfallback: {body: x}\n", "all.yaml": services,
	}.build(t, first)
	wantProblems(t, problems, "all.yaml:3:30: breaker.failure_threshold: 20 must not be over breaker.window_size, which is 10 (set at defaults.yaml:1:24)")
	wantServices(t, set, "a*", "b")
	a, b := set.Lookup("a"), set.Lookup("b")
	if a.Digest != first.Lookup("a").Digest || b.Breaker.WindowSize != 10 || b.HealthCheck == nil {
		t.Errorf("a %+v, b %+v", a.Breaker, b.Breaker)
	}
	// The document, edited and still in conflict, changes nothing.
	again, _ := directory{
		"defaults.yaml": "breaker: {window_size: 10}\nhealth_check: {path: /}\nfallback: {body: x}\n",
		"all.yaml":      strings.Replace(services, "20", "30", 1),
	}.build(t, set)
	if again.Lookup("a").Digest != a.Digest {
		t.Error("a is no longer its last good version")
	}
	mended := directory{"defaults.yaml": "breaker: {window_size: 50}\n", "all.yaml": services}.good(t, again)
	if a := mended.Lookup("a"); a.Stale || a.Breaker.WindowSize != 50 {
		t.Errorf("mended: stale %t, %+v", a.Stale, a.Breaker)
	}
}

func TestStaleServiceFollowsDefaults(t *testing.T) {
	first := directory{"a.yaml": doc("a")}.good(t, nil)
	set, _ := directory{"defaults.yaml": "retry: off\n", "a.yaml": doc("a", "oops: 1")}.build(t, first)
	wantServices(t, set, "a*")
	if set.Lookup("a").Retry.MaxRetries != 0 {
		t.Error("the last good document is not laid over the new defaults")
	}
}

func TestGatewayFaultKeepsGateway(t *testing.T) {
	first := directory{"gateway.yaml": "address: 0.0.0.0:80\n", "a.yaml": doc("a")}.good(t, nil)
	set, problems := directory{"gateway.yaml": "address: 0.0.0.0\n", "a.yaml": doc("a", "retry: off")}.build(t, first)
	wantProblems(t, problems, "gateway.yaml:1:10: address: must be host:port")
	if g := set.Gateway; g.Host != "0.0.0.0" || g.Port != 80 || !g.Stale {
		t.Errorf("gateway %+v", g)
	}
	if set.Lookup("a").Retry.MaxRetries != 0 {
		t.Error("a good edit of the same save is not live")
	}
	start, _ := directory{"gateway.yaml": "address: 0.0.0.0\naccess_log: off\n", "a.yaml": doc("a")}.build(t, nil)
	if g := start.Gateway; g.Address() != "127.0.0.1:8080" || g.AccessLog != "stdout" || !g.Stale {
		t.Errorf("gateway %+v", g)
	}
}

func TestKeptProfileLeavesItsServicesFree(t *testing.T) {
	d := directory{
		"defaults.yaml": "profiles:\n  slow: {retry: {base_delay: 2s}}\n",
		"a.yaml":        doc("a", "profile: slow", "breaker: {window_size: 3}"),
	}
	first := d.good(t, nil)
	d["defaults.yaml"] = "retry: {max_delay: 1s}\n" + d["defaults.yaml"]
	set, problems := d.build(t, first)
	wantProblems(t, problems, "profiles.slow.retry.base_delay")
	wantServices(t, set, "a")
	again, _ := d.build(t, set)
	if again.Lookup("a") != set.Lookup("a") {
		t.Error("another pointer at a second look")
	}
	d["a.yaml"] = doc("a", "profile: slow", "breaker: {window_size: 2}")
	set, problems = d.build(t, again)
	wantProblems(t, problems, "profiles.slow.retry.base_delay")
	wantServices(t, set, "a")
	if b := set.Lookup("a").Breaker; b.FailureThreshold.N != 2 {
		t.Errorf("failure_threshold %d, want it clamped to 2", b.FailureThreshold.N)
	}
}

// TestFilesKeepPositions: what is stored has each document at its own line, though
// others of the file are not in force.
func TestFilesKeepPositions(t *testing.T) {
	before := doc("a", "fallback:", "  body: |+", "    x", "") + "---\n" + doc("b") + "---\n" + doc("c")
	first := directory{"all.yaml": before}.good(t, nil)
	after := strings.Replace(before, doc("b"), doc("b", "oops: 1")+"---\n"+doc("a"), 1)
	set, problems := directory{"all.yaml": after}.build(t, first)
	wantProblems(t, problems, "oops", "also defined")
	stored := directory{"all.yaml": string(set.Files()[0].Data)}.good(t, nil)
	for _, s := range set.Services {
		if got := stored.Lookup(s.Name); got.Position != s.Position || got.Origins["upstream"] != s.Origins["upstream"] {
			t.Errorf("%s is at %s, want %s", s.Name, got.Position, s.Position)
		}
	}
}
