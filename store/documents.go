package store

import (
	"errors"
	"sync"
	"unicode/utf8"

	"github.com/breakwater/breakwater/policy"
)

// The names of the documents.
const (
	generationsName = "generations"
	policiesName    = "policies"
	acceptedName    = "accepted"
)

// Generation counts the resets of one service, and says whether its breaker is disabled. A change of it makes Envoy
// replace the cluster or the host, and so forget its ejections. The zero value is
// a service that was never reset.
type Generation struct {
	// Cluster counts the resets of the whole service.
	Cluster uint64 `json:"cluster,omitempty"`
	// Hosts counts the resets of single hosts, by host:port.
	Hosts map[string]uint64 `json:"hosts,omitempty"`
	// Disabled is true while an operator has disabled the service's breaker, so that its cluster ejects nothing.
	Disabled bool `json:"disabled,omitempty"`
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

// Policies is what is stored of the policies of one directory: two versions of its files,
// the last good one and the one that proxies have accepted last.
type Policies struct {
	state *Dir
	of    string
	other sync.Once
}

// Policies is for the policies directory with that absolute path. What is stored of
// another directory counts as not stored, and is replaced by the next save; the log says
// so once.
func (d *Dir) Policies(of string) *Policies { return &Policies{state: d, of: of} }

// LoadPolicies returns the last good policy files. Where there are none, those that
// proxies have accepted last are as good; nil if there are none of these either. The
// error says that a document is corrupt, whether another stands in for it or not.
func (p *Policies) LoadPolicies() ([]policy.File, error) {
	files, err := p.load(policiesName)
	if files != nil {
		return files, nil
	}
	files, acceptedErr := p.load(acceptedName)
	return files, errors.Join(err, acceptedErr)
}

// SavePolicies replaces the last good policy files.
func (p *Policies) SavePolicies(files []policy.File) error { return p.save(policiesName, files) }

// LoadAccepted returns the policy files that proxies have accepted last, or nil if none
// were saved or the document is corrupt; the error says which.
func (p *Policies) LoadAccepted() ([]policy.File, error) { return p.load(acceptedName) }

// SaveAccepted replaces the policy files that proxies have accepted last.
func (p *Policies) SaveAccepted(files []policy.File) error { return p.save(acceptedName, files) }

func (p *Policies) load(name string) ([]policy.File, error) {
	var stored policyFiles
	if found, err := p.state.Load(name, &stored); !found {
		return nil, err
	}
	if stored.Directory != p.of {
		p.other.Do(func() {
			p.state.log.Warn("the stored policies are those of another directory and are not used",
				"stored", stored.Directory, "policies", p.of)
		})
		return nil, nil
	}
	files := make([]policy.File, len(stored.Files))
	for i, f := range stored.Files {
		files[i] = policy.File{Name: f.Name, Data: f.Data}
		if f.Data == nil {
			files[i].Data = []byte(f.Text)
		}
	}
	return files, nil
}

func (p *Policies) save(name string, files []policy.File) error {
	stored := policyFiles{Directory: p.of, Files: make([]policyFile, len(files))}
	for i, f := range files {
		stored.Files[i] = policyFile{Name: f.Name}
		if utf8.Valid(f.Data) {
			stored.Files[i].Text = string(f.Data)
		} else {
			stored.Files[i].Data = f.Data
		}
	}
	return p.state.Save(name, stored)
}

// policyFiles is the stored form of a directory's policy files.
type policyFiles struct {
	// Directory is an absolute path.
	Directory string       `json:"directory"`
	Files     []policyFile `json:"files"`
}

// policyFile is the stored form of a policy.File: what somebody has written, so that variables are not expanded. Data,
// which is base64 in JSON, is in place of Text where the bytes are no UTF-8, so that they come back as they were.
type policyFile struct {
	Name string `json:"name"`
	Text string `json:"text,omitempty"`
	Data []byte `json:"data,omitempty"`
}
