package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// manifest is one object of Kubernetes', with the fields that matter here. That all its fields
// are Kubernetes' own is for `make check` to tell, which knows the schemas.
type manifest struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
	}
	// Data is a ConfigMap's.
	Data map[string]string
	Spec struct {
		// Of a Deployment.
		Replicas int
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     podSpec
		}
		// Selector of a Service; that of others is nested.
		Selector map[string]any
		Ports    []struct {
			Name       string
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
		// Of a NetworkPolicy.
		PodSelector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		} `yaml:"podSelector"`
		Ingress []struct {
			From  []networkPeer
			Ports []struct{ Port string }
		}
		Egress []struct{ Ports []struct{ Port string } }
	}
}

// networkPeer is one of those that a NetworkPolicy admits; without either selector it is another kind.
type networkPeer struct {
	PodSelector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	} `yaml:"podSelector"`
	NamespaceSelector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	} `yaml:"namespaceSelector"`
}

type podSpec struct {
	SecurityContext struct {
		RunAsNonRoot bool                  `yaml:"runAsNonRoot"`
		RunAsUser    int                   `yaml:"runAsUser"`
		RunAsGroup   int                   `yaml:"runAsGroup"`
		FSGroup      int                   `yaml:"fsGroup"`
		Seccomp      struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	// GraceSeconds until the kubelet kills what has not ended, PreStop included.
	GraceSeconds   int            `yaml:"terminationGracePeriodSeconds"`
	InitContainers []podContainer `yaml:"initContainers"`
	Containers     []podContainer
	Volumes        []struct {
		Name      string
		ConfigMap *struct{ Name string } `yaml:"configMap"`
		Claim     *struct {
			Name string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
		EmptyDir *struct{ Medium string } `yaml:"emptyDir"`
	}
}

type podContainer struct {
	Name, Image   string
	Command, Args []string
	Env           []struct {
		Name, Value string
		ValueFrom   struct {
			FieldRef struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	}
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	StartupProbe   *probe `yaml:"startupProbe"`
	ReadinessProbe *probe `yaml:"readinessProbe"`
	LivenessProbe  *probe `yaml:"livenessProbe"`
	Lifecycle      struct {
		PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
	}
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop []string }
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
		SubPath   string `yaml:"subPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// kustomize returns what `kustomize build` makes of a directory below deploy/kubernetes.
func kustomize(t testing.TB, name string) []manifest {
	t.Helper()
	return kustomizeBuild(t, filepath.Join(root(), "deploy", "kubernetes", name))
}

func kustomizeBuild(t testing.TB, dir string) []manifest {
	t.Helper()
	binary := os.Getenv("KUSTOMIZE")
	if binary == "" {
		t.Fatal("KUSTOMIZE is not set: run `make kustomize` or `make test`")
	}
	out, err := exec.Command(binary, "build", dir).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("kustomize build %s: %v", dir, err)
	}
	var all []manifest
	for d := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var m manifest
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("kustomize build %s: %v", dir, err)
		}
		all = append(all, m)
	}
}

// find returns the object of a kind and a name.
func find(all []manifest, kind, name string) (manifest, bool) {
	i := slices.IndexFunc(all, func(m manifest) bool { return m.Kind == kind && m.Metadata.Name == name })
	if i < 0 {
		return manifest{}, false
	}
	return all[i], true
}

// selects reports whether all the labels of a selector are a pod's.
func selects(selector map[string]any, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}

// port is the number of a container's port by its name, or 0.
func (p podSpec) port(name string) int {
	for _, c := range p.Containers {
		for _, port := range c.Ports {
			if port.Name == name {
				return port.ContainerPort
			}
		}
	}
	return 0
}

// TestManifests checks what a schema can not: that names lead to what there is, and that no
// pod has a right that it does not need.
func TestManifests(t *testing.T) {
	for _, name := range []string{"base", "demo"} {
		t.Run(name, func(t *testing.T) {
			all := kustomize(t, name)
			for _, m := range all {
				if want := "breakwater"; m.Kind != "Namespace" && m.Metadata.Namespace != want {
					t.Errorf("%s %s is in the namespace %q, want %q", m.Kind, m.Metadata.Name, m.Metadata.Namespace, want)
				}
				switch m.Kind {
				case "Deployment":
					checkPod(t, all, m)
				case "Service":
					checkService(t, all, m)
				case "NetworkPolicy":
					checkNetworkPolicy(t, all, m)
				}
			}
		})
	}
}

func checkPod(t *testing.T, all []manifest, m manifest) {
	pod := m.Spec.Template.Spec
	if s := pod.SecurityContext; !s.RunAsNonRoot || s.RunAsUser == 0 || s.Seccomp.Type != "RuntimeDefault" {
		t.Errorf("%s: the pod's security context is %+v", m.Metadata.Name, s)
	}
	volumes := make(map[string]bool)
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil {
			if _, ok := find(all, "ConfigMap", v.ConfigMap.Name); !ok {
				t.Errorf("%s: no ConfigMap %s", m.Metadata.Name, v.ConfigMap.Name)
			}
		}
		if v.Claim != nil {
			if _, ok := find(all, "PersistentVolumeClaim", v.Claim.Name); !ok {
				t.Errorf("%s: no claim %s", m.Metadata.Name, v.Claim.Name)
			}
		}
	}
	for _, c := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
		s := c.SecurityContext
		if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
			t.Errorf("%s: the security context of %s is %+v", m.Metadata.Name, c.Name, s)
		}
		for _, v := range c.VolumeMounts {
			if !volumes[v.Name] {
				t.Errorf("%s: %s mounts %s, which there is not", m.Metadata.Name, c.Name, v.Name)
			}
			if v.SubPath != "" {
				t.Errorf("%s: %s mounts %s by subPath, which is never updated", m.Metadata.Name, c.Name, v.Name)
			}
		}
		for _, p := range []*probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
			if p != nil && pod.port(p.HTTPGet.Port) == 0 {
				t.Errorf("%s: %s is probed on port %q, which there is not", m.Metadata.Name, c.Name, p.HTTPGet.Port)
			}
		}
	}
}

func checkService(t *testing.T, all []manifest, service manifest) {
	for _, m := range all {
		if m.Kind != "Deployment" || !selects(service.Spec.Selector, m.Spec.Template.Metadata.Labels) {
			continue
		}
		for _, p := range service.Spec.Ports {
			if m.Spec.Template.Spec.port(p.TargetPort) == 0 {
				t.Errorf("service %s: no port %q in %s", service.Metadata.Name, p.TargetPort, m.Metadata.Name)
			}
			if p.TargetPort == "admin" {
				t.Errorf("service %s publishes Envoy's admin API", service.Metadata.Name)
			}
		}
		return
	}
	t.Errorf("service %s selects no Deployment", service.Metadata.Name)
}

func checkNetworkPolicy(t *testing.T, all []manifest, policy manifest) {
	labels := make(map[string]any)
	for name, value := range policy.Spec.PodSelector.MatchLabels {
		labels[name] = value
	}
	selected := 0
	for _, m := range all {
		if m.Kind != "Deployment" || !selects(labels, m.Spec.Template.Metadata.Labels) {
			continue
		}
		selected++
		for _, rule := range policy.Spec.Ingress {
			for _, p := range rule.Ports {
				if m.Spec.Template.Spec.port(p.Port) == 0 {
					t.Errorf("network policy %s: no port %q in %s", policy.Metadata.Name, p.Port, m.Metadata.Name)
				}
			}
		}
	}
	if selected == 0 {
		t.Errorf("network policy %s selects no Deployment", policy.Metadata.Name)
	}
}
