package policy

import (
	"bytes"
	"maps"
	"slices"
)

// Files returns the documents that are in force, such that
//
//	Build(s.Files(), env, nil)
//
// gives a Set of the same Digest: what is stored to have a last good policy at the
// next start. A file whose every document is in force is returned as it is, and so is
// the defaults.yaml that the layers are from. Of others only the documents in force
// are returned, each at its own line where there is room; what fits no present
// document together (a service kept as it was before an edit of the defaults) is
// written out with every value. A Set that Build did not make has none.
func (s *Set) Files() []File {
	if s.state == nil {
		return nil
	}
	var files []File
	if defaults := s.state.layers.source; defaults.file != "" {
		files = append(files, File{Name: defaults.file, Data: defaults.text})
	}
	if doc := s.state.gateway.doc; doc != nil {
		files = append(files, File{Name: doc.name, Data: doc.data})
	}
	byFile := map[string][]*record{}
	for _, name := range slices.Sorted(maps.Keys(s.state.live)) {
		r := s.state.live[name]
		byFile[r.entry.file] = append(byFile[r.entry.file], r)
	}
	for _, name := range slices.Sorted(maps.Keys(byFile)) {
		files = append(files, File{Name: name, Data: s.state.assemble(byFile[name], s.state.files[name])})
	}
	slices.SortFunc(files, func(a, b File) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return files
}

// assemble writes the documents of one file that are in force.
func (s *state) assemble(records []*record, file *fileState) []byte {
	slices.SortStableFunc(records, func(a, b *record) int { return a.entry.line - b.entry.line })
	if file != nil && len(file.entries) == len(records) && !file.fault {
		whole := true
		for i, r := range records {
			whole = whole && !r.frozen && r.entry.hash == file.entries[i].hash && r.entry.line == file.entries[i].line
		}
		if whole {
			return file.data
		}
	}
	var out bytes.Buffer
	line := 1
	write := func(text []byte) {
		out.Write(text)
		line += bytes.Count(text, []byte("\n"))
	}
	for _, r := range records {
		text := r.entry.text
		if r.frozen {
			text = r.entry.explicit()
		}
		marked := bytes.HasPrefix(text, []byte("---"))
		// Comments, for empty lines could belong to a block scalar.
		for line < r.entry.line && (marked || line+1 < r.entry.line) {
			write([]byte("#\n"))
		}
		if !marked && out.Len() > 0 {
			write([]byte("---\n"))
		}
		write(text)
	}
	return out.Bytes()
}
