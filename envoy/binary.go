package envoy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxVersionText bounds the part that an error quotes of what is no Envoy's --version, in bytes.
const maxVersionText = 200

// MinVersion is the oldest Envoy that Breakwater works with: since 1.39 a changed
// hostname recreates an endpoint's host, which is how one host is reset.
const MinVersion = "1.39.0"

// cachedBinary is where `make envoy` puts Envoy, below the repository's root.
const cachedBinary = ".cache/envoy-1.40.0/envoy/_bin/envoy"

// Binary is an Envoy executable that was found fit.
type Binary struct {
	// Path is absolute.
	Path string
	// Version is such as "1.40.0".
	Version string
}

// Find returns the first of $ENVOY, `envoy` on PATH and the one that `make envoy`
// puts below the working directory. Only the first that exists is looked at: if it
// does not run or is older than MinVersion, that is the error.
func Find(ctx context.Context) (Binary, error) {
	path, err := locate()
	if err != nil {
		return Binary{}, err
	}
	return Inspect(ctx, path)
}

func locate() (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		if _, err := exec.LookPath(path); err != nil {
			return "", fmt.Errorf("ENVOY=%s: %w", path, cause(err))
		}
		return path, nil
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath(filepath.Join(".", cachedBinary)); err == nil {
		return path, nil
	}
	return "", errors.New("no Envoy found: run `make envoy` to get one, or set ENVOY to the path of yours")
}

// cause takes the name off an exec.Error: the message has it already.
func cause(err error) error {
	var execErr *exec.Error
	if errors.As(err, &execErr) {
		return execErr.Err
	}
	return err
}

// Inspect asks the executable at path for its version. It fails if that does not
// run, is not Envoy or is older than MinVersion.
func Inspect(ctx context.Context, path string) (Binary, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Binary{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		return Binary{}, fmt.Errorf("%s --version: %w", path, err)
	}
	version, err := parseVersion(out)
	if err != nil {
		return Binary{}, fmt.Errorf("%s: %w", path, err)
	}
	if olderThan(version, MinVersion) {
		return Binary{}, fmt.Errorf("%s is Envoy %s: Breakwater needs %s or newer (run `make envoy`, or set ENVOY to the path of a newer one)",
			path, version, MinVersion)
	}
	return Binary{Path: path, Version: version}, nil
}

// versionLine is "… version: <revision>/<version>/<state>/<build type>/<TLS library>".
// Distributions append a suffix to the version, such as 1.40.0-dev.
var versionLine = regexp.MustCompile(`version: [^/\s]*/(\d+\.\d+\.\d+)[^/]*/`)

func parseVersion(out []byte) (string, error) {
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("not Envoy: --version says %q", oneLine(string(bytes.TrimSpace(out[:min(len(out), maxVersionText)]))))
	}
	return string(m[1]), nil
}

// threeNumbers is the version that an Envoy gives in its node.
var threeNumbers = regexp.MustCompile(`^\d{1,9}\.\d{1,9}\.\d{1,9}$`)

// TooOld reports whether an Envoy of a version such as "1.38.3" is older than MinVersion. One that is written in another
// way is not known to be.
func TooOld(version string) bool {
	return threeNumbers.MatchString(version) && olderThan(version, MinVersion)
}

// olderThan compares dotted numbers: both have as many.
func olderThan(version, bound string) bool {
	bounds := strings.Split(bound, ".")
	for i, part := range strings.Split(version, ".") {
		have, _ := strconv.Atoi(part)
		want, _ := strconv.Atoi(bounds[i])
		if have != want {
			return have < want
		}
	}
	return false
}
