package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// composeFile is what `docker compose config` makes of docker-compose.yml. A field that this
// test does not know is an error, so that none goes untested by oversight.
type composeFile struct {
	Name     string                    `json:"name"`
	Services map[string]composeService `json:"services"`
	Networks map[string]composeNetwork `json:"networks"`
	Volumes  map[string]any            `json:"volumes"`
	// Extensions are for the file's own use.
	Hardened   any `json:"x-hardened"`
	Breakwater any `json:"x-breakwater"`
	Envoy      any `json:"x-envoy"`
	Demo       any `json:"x-demo"`
	Health     any `json:"x-health"`
}

type composeNetwork struct {
	Name     string         `json:"name"`
	IPAM     map[string]any `json:"ipam"`
	Internal bool           `json:"internal"`
}

type composeService struct {
	Image       string                   `json:"image"`
	Build       *composeBuild            `json:"build"`
	Entrypoint  []string                 `json:"entrypoint"`
	Command     []string                 `json:"command"`
	Environment map[string]*string       `json:"environment"`
	User        string                   `json:"user"`
	ReadOnly    bool                     `json:"read_only"`
	Restart     string                   `json:"restart"`
	CapDrop     []string                 `json:"cap_drop"`
	SecurityOpt []string                 `json:"security_opt"`
	Tmpfs       []string                 `json:"tmpfs"`
	Volumes     []composeVolume          `json:"volumes"`
	Networks    map[string]any           `json:"networks"`
	Ports       []composePort            `json:"ports"`
	DependsOn   map[string]composeDepend `json:"depends_on"`
	Healthcheck *composeHealthcheck      `json:"healthcheck"`
}

func (s composeService) variables() []string {
	var env []string
	for name, value := range s.Environment {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	slices.Sort(env)
	return env
}

func (s composeService) networkNames() []string {
	var names []string
	for name := range s.Networks {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

type composeBuild struct {
	Context    string `json:"context"`
	Dockerfile string `json:"dockerfile"`
	Target     string `json:"target"`
	// Args are the Dockerfile's ARGs.
	Args map[string]string `json:"args"`
}

type composeVolume struct {
	Type     string         `json:"type"`
	Source   string         `json:"source"`
	Target   string         `json:"target"`
	ReadOnly bool           `json:"read_only"`
	Bind     map[string]any `json:"bind"`
	Volume   map[string]any `json:"volume"`
}

type composePort struct {
	Mode      string `json:"mode"`
	HostIP    string `json:"host_ip"`
	Target    int    `json:"target"`
	Published string `json:"published"`
	Protocol  string `json:"protocol"`
}

type composeDepend struct {
	Condition string `json:"condition"`
	Required  bool   `json:"required"`
}

type composeHealthcheck struct {
	Test          []string        `json:"test"`
	Interval      composeDuration `json:"interval"`
	Timeout       composeDuration `json:"timeout"`
	StartPeriod   composeDuration `json:"start_period"`
	StartInterval composeDuration `json:"start_interval"`
	Retries       int             `json:"retries"`
}

type composeDuration time.Duration

func (d *composeDuration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = composeDuration(v)
	return err
}

// readCompose reads the docker-compose.yml of a project directory as Docker Compose does, with
// its schema, its interpolation and these variables.
func readCompose(dir string, env ...string) (*composeFile, error) {
	binary := os.Getenv("COMPOSE")
	if binary == "" {
		return nil, fmt.Errorf("COMPOSE is not set: run `make compose` or `make test`")
	}
	cmd := exec.Command(binary, "--file", filepath.Join(dir, "docker-compose.yml"), "config", "--format", "json")
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("docker compose config: %w", err)
	}
	var f composeFile
	// What is printed can be read again: its dollars are escaped.
	return &f, decodeStrict(bytes.ReplaceAll(out, []byte("$$"), []byte("$")), &f)
}

// decodeStrict decodes JSON that must have no field which into does not know.
func decodeStrict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// root is the repository's.
func root() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err) // only without a working directory
	}
	return dir
}
