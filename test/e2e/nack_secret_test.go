package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// TestEnvoysWordsHaveNoValueOfAVariable: Envoy quotes what it rejects, as it was expanded; what is said of it quotes the policy.
func TestEnvoysWordsHaveNoValueOfAVariable(t *testing.T) {
	t.Setenv("PICKY_CA", "/hunter2/ca.pem")
	t.Setenv("PICKY_WORD", "hunter2")
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newStrict(t, map[string]string{"picky.yaml": goodPicky(a, 5), "worse.yaml": "service: worse\nupstream: " + b.Addr() + "\nroutes: [{prefix: /worse}]\n"})
	s.live("/picky", a, 5)
	s.write("picky.yaml", fmt.Sprintf("service: picky\nupstream: https://%s\nroutes: [{prefix: /picky}]\ntls:\n  ca_file: ${PICKY_CA}\n", a.Addr()))
	s.write("worse.yaml", fmt.Sprintf("service: worse\nupstream: %s\nroutes:\n  - prefix: /worse\n  - regex: '/${PICKY_WORD}/\\pL{200}'\n", b.Addr()))
	s.until("both are rejected", func() error {
		if got := s.config().Rejections; len(got) != 2 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	for what, text := range map[string]string{
		"status": s.run("status"), "status as JSON": s.run("status", "-o", "json"), "proxies": s.run("proxies", "-o", "json"),
		"config": fmt.Sprintf("%+v", s.config()), "log": s.log.String(), "a plan": s.run("plan", s.dir),
	} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s has the value of a variable:\n%s", what, text)
		}
		if what != "a plan" && what != "proxies" && (!strings.Contains(text, "${PICKY_CA}") || !strings.Contains(text, "${PICKY_WORD}")) {
			t.Errorf("%s does not quote the policies:\n%s", what, text)
		}
	}
}
