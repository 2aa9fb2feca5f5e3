package policy

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func changeLines(changes []Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%s: %q → %q (%s)", c.Path, c.From, c.To, c.Position))
	}
	return out
}

func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after directory
		want          []string
	}{
		{
			"one value",
			directory{"a.yaml": doc("a", "retry: {max_retries: 3}")},
			directory{"a.yaml": doc("a", "retry:", "  max_retries: 1")},
			[]string{`retry.max_retries: "3" → "1" (a.yaml:4:16)`},
		},
		{"reformatted", directory{"a.yaml": doc("a", "retry: {max_retries: 1, budget: 20%}")}, directory{"b.yaml": "# moved\n" + doc("a", "retry:", "  max_retries: 1")}, nil},
		{"another profile with the same values", directory{"a.yaml": doc("a")}, directory{"a.yaml": doc("a", "profile: p"), "defaults.yaml": "profiles: {p: {}}\n"}, nil},
		{
			"no longer set, so another layer's",
			directory{"a.yaml": doc("a", "timeout: {connect: 1s}")},
			directory{"a.yaml": doc("a"), "defaults.yaml": "timeout: {connect: 2s}\n"},
			[]string{`timeout.connect: "1s" → "2s" (defaults.yaml:1:20)`},
		},
		{
			"no longer set at all",
			directory{"a.yaml": doc("a", "timeout: {connect: 1s}")},
			directory{"a.yaml": doc("a")},
			[]string{`timeout.connect: "1s" → "5s" (a.yaml:3:20)`},
		},
		{
			"a section comes",
			directory{"a.yaml": doc("a")},
			directory{"a.yaml": doc("a", "fallback: {body: sorry}")},
			[]string{
				`fallback: "off" → "" (-)`, `fallback.body: "" → "sorry" (a.yaml:3:18)`,
				`fallback.status: "" → "200" (-)`,
			},
		},
		{
			"only the rewrite and a header's value",
			directory{"a.yaml": doc("a", "routes:", "- {prefix: /a, headers: [{name: x, exact: y}]}")},
			directory{"a.yaml": doc("a", "routes:", "- {prefix: /a, headers: [{name: x, exact: z}], rewrite: /b}")},
			[]string{`routes: "prefix /a with x: y" → "prefix /a with x: z as /b" (a.yaml:4:1)`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, after := tt.before.good(t, nil), tt.after.good(t, nil)
			got := changeLines(Changes(before.Lookup("a"), after.Lookup("a")))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChangesOfServicesThatComeAndGo(t *testing.T) {
	svc := serviceOf(t, plainPolicy)
	came, went := Changes(nil, svc), Changes(svc, nil)
	if len(came) != len(svc.Settings()) || len(went) != len(came) {
		t.Fatalf("%d came and %d went of %d settings", len(came), len(went), len(svc.Settings()))
	}
	for i := range came {
		if came[i].From != "" || came[i].To == "" || went[i].To != "" || went[i].From != came[i].To {
			t.Errorf("%+v came, %+v went", came[i], went[i])
		}
	}
}

func TestGatewayChanges(t *testing.T) {
	before := directory{"a.yaml": doc("a")}.good(t, nil)
	after := directory{"a.yaml": doc("a"), "gateway.yaml": "address: 127.0.0.1:9000\naccess_log: off\ntracing: {collector: 10.0.0.1:4317}\n"}.good(t, before)
	want := []string{
		`access_log: "stdout" → "off" (gateway.yaml:2:13)`,
		`address.port: "8080" → "9000" (gateway.yaml:1:10)`,
		`tracing: "off" → "" (-)`,
		`tracing.collector: "" → "10.0.0.1:4317" (gateway.yaml:3:22)`,
		`tracing.sampling: "" → "100%" (-)`,
		`tracing.service_name: "" → "gateway" (-)`,
	}
	if diff := cmp.Diff(want, changeLines(GatewayChanges(before.Gateway, after.Gateway))); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// TestEveryDifferenceIsAChange alters each value of the model in turn: none is left out of
// the settings.
func TestEveryDifferenceIsAChange(t *testing.T) {
	svc := *serviceOf(t, fullPolicy)
	was, altered := values(svc.Settings()), 0
	// What is off has no number, and a header is compared in one way.
	mute := []string{".Digest", ".Timeout.Idle.D", ".Breaker.FailureThreshold.N", ".Routes[0].Headers[0].Prefix", ".Routes[0].Headers[0].Regex", ".Routes[0].Headers[0].Present"}
	alterEach(reflect.ValueOf(&svc).Elem(), "", func(path string) {
		if slices.Contains(mute, path) || svc.digest() == svc.Digest {
			return // or a position, an origin or the profile
		}
		altered++
		if slices.Equal(values(svc.Settings()), was) {
			t.Errorf("%s is in no setting", path)
		}
	})
	if altered < 40 {
		t.Errorf("only %d values were altered", altered)
	}
}

func values(settings []Setting) []string {
	var out []string
	for _, s := range settings {
		out = append(out, s.Path+" "+s.Value)
	}
	return out
}

// alterEach alters each value below v in place, calls look, and puts it back.
func alterEach(v reflect.Value, path string, look func(path string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			alterEach(v.Elem(), path, look)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				alterEach(v.Field(i), path+"."+f.Name, look)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			alterEach(v.Index(i), fmt.Sprintf("%s[%d]", path, i), look)
		}
	case reflect.Map:
	default:
		old := reflect.ValueOf(v.Interface())
		switch {
		case v.Kind() == reflect.String:
			v.SetString(v.String() + "x")
		case v.Kind() == reflect.Bool:
			v.SetBool(!v.Bool())
		case v.CanInt():
			v.SetInt(v.Int() + 1)
		case v.CanUint():
			v.SetUint(v.Uint() + 1)
		case v.CanFloat():
			v.SetFloat(v.Float() + 0.001)
		}
		look(path)
		v.Set(old)
	}
}

// TestPercent: what a user writes comes out again, and no two shares look alike.
func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0.07: "7%", 0.2: "20%", 0.125: "12.5%", 1: "100%", 0.0000001: "0.00001%", 0.333: "33.3%"} {
		if got := Percent(share); got != want {
			t.Errorf("Percent(%v) = %s, want %s", share, got, want)
		}
	}
}
