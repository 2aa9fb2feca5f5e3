package policy

// Severity of a problem.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Problem is one violation or lint finding.
type Problem struct {
	Severity Severity
	Position Position
	// Service is the service it concerns; empty if it concerns a whole file.
	Service string
	// Path is the dotted path of the field, such as "retry.max_delay"; may be empty.
	Path string
	// Message says what is wrong and what is allowed, with a suggestion for a
	// misspelt name.
	Message string
	// Rule names a lint rule; empty for an error.
	Rule string
}

// String gives file:line:column: path: message.
func (p Problem) String() string {
	s := p.Position.String() + ": "
	if p.Path != "" {
		s += p.Path + ": "
	}
	return s + p.Message
}

// File is one policy file's name, relative to its directory, and its bytes.
type File struct {
	Name string
	Data []byte
	// Changed is true while Data is so new that its writer may not be done, and Gone while the file is missing but may
	// come back, Data being what it had. What was in such a file and is in no other stays as it is, without a problem.
	Changed, Gone bool
}
