package policy

import "testing"

func TestMask(t *testing.T) {
	values := map[string]string{"URL": "https://user-db.Internal:8443", "TOKEN": "hunter2", "SHORT": "ab", "WAY": "secret", "WAIT": "1500ms", "PATH_": "/secret/way", "LOG": "/var/log/Envoy.sword"}
	env := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	set, problems := Build(directory{
		"a.yaml":       "service: a\nupstream: ${URL}\ntimeout: {connect: \"${WAIT}\"}\nfallback: {body: \"x${TOKEN}${SHORT}${WAY}\"}\nroutes: [{regex: \"${PATH_}/.*\"}]\n",
		"gateway.yaml": "access_log: ${LOG}\n",
	}.files(), env, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var m Mask
	const text = "cannot take 'xhunter2ab' of user-db.internal (https://user-db.Internal:8443) after 1500ms at /secret/way/.*, not /secret or /var/log/Envoy.sword"
	if got := m.Hide(text); got != text {
		t.Errorf("without a set: %s", got)
	}
	m.Add(set)
	m.Add(&Set{}) // which takes nothing back
	const want = "cannot take 'x${TOKEN}ab' of ${URL} (${URL}) after 1500ms at ${PATH_}/.*, not /${WAY} or ${LOG}"
	if got := m.Hide(text); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}
