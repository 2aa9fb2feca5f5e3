package policy

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// specialFile is defaults.yaml or gateway.yaml.
type specialFile struct {
	name string
	data []byte
	// text is the document, which begins at line.
	text []byte
	line int
	// root is nil if there is no document that can be read.
	root *yaml.Node
	// found is what is wrong with the file as such.
	found findings
}

// isSpecial reports whether name is base.yaml or base.yml.
func isSpecial(name, base string) bool {
	return name == base+".yaml" || name == base+".yml"
}

// isPolicyName reports whether a file of that name is read at all.
func isPolicyName(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// IsFileName reports whether a directory's file of that name is a policy file: *.yaml and *.yml, but no hidden file
// (swap files, a ConfigMap's ..data) and none of Emacs's #autosave#. Backups end otherwise.
func IsFileName(name string) bool {
	return isPolicyName(name) && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "#")
}

// readSpecial parses the one document of a special file.
func readSpecial(f File) *specialFile {
	s := &specialFile{name: f.Name, data: f.Data, line: 1}
	fail := func(line int, format string, args ...any) {
		s.found.take(Problem{
			Severity: SeverityError, Position: Position{File: f.Name, Line: line, Column: 1}, Message: fmt.Sprintf(format, args...),
		})
	}
	if len(f.Data) > maxFileSize {
		fail(1, "the file has %d bytes, more than %d", len(f.Data), maxFileSize)
		return s
	}
	chunks := split(f.Data)
	switch {
	case len(chunks) == 0:
		fail(1, "the file is empty: delete it if nothing is to be set")
		return s
	case len(chunks) > 1:
		fail(chunks[1].line, "%s has one document", f.Name)
	}
	s.text, s.line = chunks[0].text, chunks[0].line
	d := newDecoder(f.Name, s.line, s.text, LayerDefaults, environment{})
	d.found = s.found
	root, ok := d.parseYAML(s.text)
	if !ok {
		s.found = d.found
		return s
	}
	s.root = root
	return s
}
