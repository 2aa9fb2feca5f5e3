package deploy

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

const (
	// imagePath is PATH in the images, as their bases set it.
	imagePath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// buildOut is where the Dockerfile's build stage puts what it builds.
	buildOut = "/out"
)

// image is the root directory and the settings of a container's image.
type image struct {
	// files are paths in the image and what is there on this host.
	files map[string]string
	// dirs are empty directories, with their owner.
	dirs map[string]owner
	// system has the image see this host's programs and libraries, for a base with a
	// userland of its own.
	system     bool
	entrypoint []string
	cmd        []string
	user       string
}

type owner struct{ uid, gid int }

func parseOwner(s string) (owner, error) {
	uid, gid, _ := strings.Cut(s, ":")
	u, err := strconv.Atoi(uid)
	if err != nil {
		return owner{}, fmt.Errorf("user %q: must be uid:gid in numbers", s)
	}
	g, err := strconv.Atoi(cmp.Or(gid, uid))
	return owner{u, g}, err
}

// buildImages runs the build stage's commands of the Dockerfile, so that what is in the images
// is in out.
func buildImages(out string) error {
	stages, err := readDockerfile(filepath.Join(root(), dockerfilePath))
	if err != nil {
		return err
	}
	build, err := findStage(stages, "build")
	if err != nil {
		return err
	}
	for _, script := range build.runs {
		cmd := exec.Command("sh", "-euc", strings.ReplaceAll(script, buildOut, out))
		cmd.Dir = root()
		cmd.Env = append(os.Environ(), "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH, "VERSION=deploy-test")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("RUN %s: %w\n%s", script, err, text)
		}
	}
	return nil
}

// bases are the images that ours and docker-compose.yml build on: what of them matters here.
var bases = map[string]func() (image, error){
	"gcr.io/distroless/static-debian12": func() (image, error) {
		return image{user: "65532:65532"}, nil
	},
	"envoyproxy/envoy": func() (image, error) {
		binary, err := required("ENVOY", "make envoy")
		return image{
			files:      map[string]string{"/usr/local/bin/envoy": binary},
			system:     true,
			entrypoint: []string{"/docker-entrypoint.sh"},
		}, err
	},
	"prom/prometheus": func() (image, error) {
		dir, err := required("PROMETHEUS", "make prometheus")
		return image{
			files: map[string]string{
				"/bin/prometheus": filepath.Join(dir, "prometheus"),
				"/bin/promtool":   filepath.Join(dir, "promtool"),
			},
			dirs:       map[string]owner{"/prometheus": {65534, 65534}},
			system:     true,
			entrypoint: []string{"/bin/prometheus"},
			user:       "65534:65534",
		}, err
	},
}

func required(variable, how string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	return "", fmt.Errorf("%s is not set: run `%s` or `make test`", variable, how)
}

// baseImage returns the stand-in of an image in a registry.
func baseImage(ref string) (image, error) {
	name, tag, ok := strings.Cut(ref, ":")
	if !ok || tag == "latest" {
		return image{}, fmt.Errorf("image %s is not pinned", ref)
	}
	base, ok := bases[name]
	if !ok {
		return image{}, fmt.Errorf("image %s: this test knows no stand-in for it", ref)
	}
	return base()
}

// targetImage returns the image of one target of the Dockerfile.
func targetImage(target string) (image, error) {
	stages, err := readDockerfile(filepath.Join(root(), dockerfilePath))
	if err != nil {
		return image{}, err
	}
	s, err := findStage(stages, target)
	if err != nil {
		return image{}, err
	}
	img, err := baseImage(s.base)
	if err != nil {
		return image{}, err
	}
	if s.entrypoint != nil {
		img.entrypoint = s.entrypoint
	}
	img.cmd, img.user = s.cmd, cmp.Or(s.user, img.user)
	for _, c := range s.copies {
		if err := img.copy(c); err != nil {
			return image{}, fmt.Errorf("COPY to %s: %w", c.dest, err)
		}
	}
	return img, nil
}

func (img *image) copy(c copyInstruction) error {
	from := root()
	src := c.src[0]
	if c.from != "" {
		rel, ok := strings.CutPrefix(src, buildOut)
		if !ok {
			return fmt.Errorf("%s is not below %s", src, buildOut)
		}
		from, src = os.Getenv(outVariable), rel
	}
	path := filepath.Join(from, src)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if img.files == nil {
			img.files = make(map[string]string)
		}
		img.files[c.dest] = path
		return nil
	}
	o, err := parseOwner(cmp.Or(c.owner, "0:0"))
	if img.dirs == nil {
		img.dirs = make(map[string]owner)
	}
	img.dirs[c.dest] = o
	return err
}

// unpack lays out the image below dir, and returns what is to be mounted there.
func (img *image) unpack(dir string) ([]mount, error) {
	for _, d := range []string{"dev", "etc", "proc", "run", "tmp", "usr/local/bin"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o1777); err != nil {
		return nil, err
	}
	for path, o := range img.dirs {
		target := filepath.Join(dir, path)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return nil, err
		}
		if err := chown(target, o); err != nil {
			return nil, err
		}
	}
	for name, target := range map[string]string{"stdin": "0", "stdout": "1", "stderr": "2"} {
		if err := os.Symlink("/proc/self/fd/"+target, filepath.Join(dir, "dev", name)); err != nil {
			return nil, err
		}
	}
	var mounts []mount
	for _, device := range []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"} {
		mounts = append(mounts, mount{Source: device, Target: device})
	}
	if img.system {
		// Ours are mounted over /usr/local of this host.
		for _, path := range []string{"/bin", "/lib", "/lib64", "/usr"} {
			if _, err := os.Stat(path); err == nil && !img.has(path) {
				mounts = append(mounts, mount{Source: path, Target: path, ReadOnly: true})
			}
		}
		mounts = append(mounts, mount{Target: "/usr/local"})
	}
	for path, source := range img.files {
		mounts = append(mounts, mount{Source: source, Target: path, ReadOnly: true})
	}
	return mounts, nil
}

// has reports whether the image has files of its own in the directory.
func (img *image) has(dir string) bool {
	for path := range img.files {
		if filepath.Dir(path) == dir {
			return true
		}
	}
	return false
}

// chown does nothing where there is one user.
func chown(path string, o owner) error {
	if oneUser() {
		return nil
	}
	return os.Chown(path, o.uid, o.gid)
}
