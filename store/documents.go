package store

import "github.com/breakwater/breakwater/policy"

// The names of the documents.
const (
	generationsName = "generations"
	policiesName    = "policies"
	acceptedName    = "accepted"
)

// Generation counts the resets of one service. A change of a number makes Envoy
// replace the cluster or the host, and so forget its ejections. The zero value is
// a service that was never reset.
type Generation struct {
	// Cluster counts the resets of the whole service.
	Cluster uint64 `json:"cluster,omitempty"`
	// Hosts counts the resets of single hosts, by host:port.
	Hosts map[string]uint64 `json:"hosts,omitempty"`
}

// LoadGenerations returns the generations by service. It is empty and never nil if
// none were saved or the document is corrupt; the error says which.
func (d *Dir) LoadGenerations() (map[string]Generation, error) {
	g := map[string]Generation{}
	found, err := d.Load(generationsName, &g)
	if !found || g == nil {
		return map[string]Generation{}, err
	}
	return g, nil
}

// SaveGenerations replaces the generations of all services.
func (d *Dir) SaveGenerations(g map[string]Generation) error {
	return d.Save(generationsName, g)
}

// policyFile is the stored form of a policy.File. Data is base64 in JSON, so that
// bytes which are no UTF-8 come back as they were.
type policyFile struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// LoadPolicies returns the last good policy files, or nil if none were saved or the
// document is corrupt; the error says which.
func (d *Dir) LoadPolicies() ([]policy.File, error) { return d.loadFiles(policiesName) }

func (d *Dir) loadFiles(name string) ([]policy.File, error) {
	var stored []policyFile
	found, err := d.Load(name, &stored)
	if !found {
		return nil, err
	}
	files := make([]policy.File, len(stored))
	for i, f := range stored {
		files[i] = policy.File(f)
	}
	return files, nil
}

// SavePolicies replaces the last good policy files.
func (d *Dir) SavePolicies(files []policy.File) error { return d.saveFiles(policiesName, files) }

func (d *Dir) saveFiles(name string, files []policy.File) error {
	stored := make([]policyFile, len(files))
	for i, f := range files {
		stored[i] = policyFile(f)
	}
	return d.Save(name, stored)
}

// LoadAccepted returns the policy files that proxies have accepted last, as LoadPolicies.
func (d *Dir) LoadAccepted() ([]policy.File, error) { return d.loadFiles(acceptedName) }

// SaveAccepted replaces the policy files that proxies have accepted last.
func (d *Dir) SaveAccepted(files []policy.File) error { return d.saveFiles(acceptedName, files) }
