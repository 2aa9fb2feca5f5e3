package envoy

import (
	"os"
	"slices"
	"strings"
)

// inherited are the variables that an Envoy gets from this process: where programs, libraries and temporary files are,
// the time zone, the locale, and the trusted certificates. All others, secrets among them, it does not need.
var inherited = []string{
	"PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

// environment is what an Envoy gets of this process's environment.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains(inherited, name) && !strings.HasPrefix(name, "LC_")
	})
}
