package deploy

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// podNetwork is the network that all pods are on.
const podNetwork = "pods"

// cluster is a rendered kustomization, run.
type cluster struct {
	*engine
	all []manifest
	// configMaps are the directories of those that are mounted.
	configMaps map[string]string
	pods       map[string][]*container // by Deployment
}

// TestKubernetes runs what deploy/kubernetes/demo deploys, and changes its ConfigMap.
func TestKubernetes(t *testing.T) {
	c := &cluster{engine: newEngine(t), all: kustomize(t, "demo"), configMaps: make(map[string]string), pods: make(map[string][]*container)}
	c.addNetwork(podNetwork)
	// Envoy would look again for a service that is not there yet; the order saves the wait.
	for _, name := range []string{"fraud-service", "breakwater", "envoy"} {
		m, ok := find(c.all, "Deployment", name)
		if !ok {
			t.Fatalf("no Deployment %s", name)
		}
		for i := range m.Spec.Replicas {
			c.deploy(m, i)
		}
	}
	for name, pods := range c.pods {
		m, _ := find(c.all, "Deployment", name)
		for _, pod := range pods {
			c.probe(m.Spec.Template.Spec, pod)
		}
	}
	for _, pod := range c.pods["envoy"] {
		c.untilAnswers(pod, "/api/v1/fraud/score", http.StatusOK)
	}

	policy, ok := find(c.all, "ConfigMap", "policies")
	if !ok {
		t.Fatal("no ConfigMap policies")
	}
	changed := make(map[string]string)
	for name, text := range policy.Data {
		changed[name] = strings.ReplaceAll(text, "prefix: /api/v1/fraud", "prefix: /api/v1/scores")
	}
	// As components/expose-admin has it.
	gateway, err := os.ReadFile(filepath.Join(root(), "deploy", "kubernetes", "components", "expose-admin", "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	changed["gateway.yaml"] = string(gateway)
	c.layConfigMap("policies", "..second", changed)
	for _, pod := range c.pods["envoy"] {
		c.untilAnswers(pod, "/api/v1/scores", http.StatusOK)
		c.untilAnswers(pod, "/api/v1/fraud/score", http.StatusNotFound)
		c.untilAnswers(pod, "/api/v1/circuit-breakers", http.StatusOK)
	}
}

// untilAnswers waits until the gateway of an Envoy answers so.
func (c *cluster) untilAnswers(envoy *container, path string, status int) {
	c.t.Helper()
	envoytest.Eventually(c.t, startTimeout, fmt.Sprintf("%s answers %d", path, status), func() error {
		r, err := try("http://"+envoy.addrs[podNetwork].String()+":8080"+path, "")
		if err == nil && r.status != status {
			err = fmt.Errorf("%d %s", r.status, r.body)
		}
		return err
	})
}

// deploy starts a pod: its init containers to their end, and then its one container.
func (c *cluster) deploy(m manifest, number int) {
	c.t.Helper()
	pod := m.Spec.Template.Spec
	name := fmt.Sprintf("%s-7d4b9c-%d", m.Metadata.Name, number)
	volumes := c.volumes(pod, name)
	for _, init := range pod.InitContainers {
		running := c.run(c.spec(m, init, name, volumes))
		<-running.ended
		if !running.cmd.ProcessState.Success() {
			c.t.Fatalf("init container %s of %s: %v: %s", init.Name, name, running.cmd.ProcessState, running.log)
		}
		running.kill()
	}
	if len(pod.Containers) != 1 {
		c.t.Fatalf("%s has %d containers", name, len(pod.Containers))
	}
	c.pods[m.Metadata.Name] = append(c.pods[m.Metadata.Name], c.run(c.spec(m, pod.Containers[0], name, volumes)))
}

func (c *cluster) spec(m manifest, from podContainer, pod string, volumes map[string]string) runSpec {
	c.t.Helper()
	security := m.Spec.Template.Spec.SecurityContext
	spec := runSpec{
		service:    c.serviceOf(m),
		hostname:   pod,
		entrypoint: from.Command,
		user:       fmt.Sprintf("%d:%d", security.RunAsUser, security.RunAsGroup),
		readOnly:   from.SecurityContext.ReadOnlyRootFilesystem,
		networks:   []string{podNetwork},
	}
	var err error
	if strings.HasPrefix(from.Image, "breakwater:") {
		spec.image, err = targetImage("breakwater")
	} else {
		spec.image, err = baseImage(from.Image)
	}
	if err != nil {
		c.t.Fatalf("%s: %v", pod, err)
	}
	expand := make([]string, 0, 2*len(from.Env))
	for _, e := range from.Env {
		value := e.Value
		switch e.ValueFrom.FieldRef.FieldPath {
		case "":
		case "metadata.name":
			value = pod
		case "metadata.namespace":
			value = m.Metadata.Namespace
		default:
			c.t.Fatalf("%s: this test does not know the field %s", pod, e.ValueFrom.FieldRef.FieldPath)
		}
		spec.env = append(spec.env, e.Name+"="+value)
		expand = append(expand, "$("+e.Name+")", value)
	}
	replacer := strings.NewReplacer(expand...)
	for _, arg := range from.Args {
		spec.args = append(spec.args, replacer.Replace(arg))
	}
	for _, v := range from.VolumeMounts {
		spec.mounts = append(spec.mounts, mount{Source: volumes[v.Name], Target: v.MountPath, ReadOnly: v.ReadOnly})
	}
	return spec
}

// serviceOf is the name of the Service that selects the pods of a Deployment.
func (c *cluster) serviceOf(m manifest) string {
	c.t.Helper()
	i := slices.IndexFunc(c.all, func(s manifest) bool {
		return s.Kind == "Service" && selects(s.Spec.Selector, m.Spec.Template.Metadata.Labels)
	})
	if i < 0 {
		c.t.Fatalf("no Service selects %s", m.Metadata.Name)
	}
	return c.all[i].Metadata.Name
}

// volumes makes a pod's volumes as the kubelet does, and returns their directories.
func (c *cluster) volumes(pod podSpec, name string) map[string]string {
	c.t.Helper()
	dirs := make(map[string]string)
	for _, v := range pod.Volumes {
		switch {
		case v.ConfigMap != nil:
			m, ok := find(c.all, "ConfigMap", v.ConfigMap.Name)
			if !ok {
				c.t.Fatalf("%s: no ConfigMap %s", name, v.ConfigMap.Name)
			}
			dirs[v.Name] = c.layConfigMap(v.ConfigMap.Name, "..first", m.Data)
		case v.Claim != nil:
			dirs[v.Name] = c.volume(v.Claim.Name, image{dirs: map[string]owner{"/": {0, pod.SecurityContext.FSGroup}}}, "/")
			if err := os.Chmod(dirs[v.Name], 0o2775); err != nil {
				c.t.Fatal(err)
			}
		case v.EmptyDir != nil:
			dirs[v.Name] = c.volume(name+"-"+v.Name, image{dirs: map[string]owner{"/": {}}}, "/")
			if err := os.Chmod(dirs[v.Name], 0o777); err != nil {
				c.t.Fatal(err)
			}
		default:
			c.t.Fatalf("%s: this test does not know the kind of the volume %s", name, v.Name)
		}
	}
	return dirs
}

// layConfigMap writes a version of a ConfigMap as the kubelet does: links to the files of
// ..data, which is a link to the version's directory and is swapped.
func (c *cluster) layConfigMap(name, version string, data map[string]string) string {
	c.t.Helper()
	dir, ok := c.configMaps[name]
	if !ok {
		dir = filepath.Join(c.engine.dir, "configmap-"+name)
		c.configMaps[name] = dir
	}
	err := os.MkdirAll(filepath.Join(dir, version), 0o755)
	for file, text := range data {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, version, file), []byte(text), 0o644)
		}
		if err == nil {
			if err = os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file)); errors.Is(err, os.ErrExist) {
				err = nil // of a version before
			}
		}
	}
	if err == nil {
		err = os.Symlink(version, filepath.Join(dir, "..data_tmp"))
	}
	if err == nil {
		err = os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// probe waits until all probes of a pod succeed.
func (c *cluster) probe(pod podSpec, running *container) {
	c.t.Helper()
	for _, from := range pod.Containers {
		for _, p := range []*probe{from.StartupProbe, from.ReadinessProbe, from.LivenessProbe} {
			if p == nil {
				continue
			}
			url := fmt.Sprintf("http://%s:%d%s", running.addrs[podNetwork], pod.port(p.HTTPGet.Port), p.HTTPGet.Path)
			envoytest.Eventually(c.t, startTimeout, "the probe of "+running.hostname+" at "+url+" succeeds", func() error {
				r, err := try(url, "")
				if err == nil && r.status != http.StatusOK {
					err = fmt.Errorf("%d %s", r.status, r.body)
				}
				return err
			})
		}
	}
}
