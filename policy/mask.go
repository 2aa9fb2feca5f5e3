package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Mask takes the values of variables out of texts that others write about policies, such as Envoy. The zero value takes
// nothing out. It may be used from several goroutines.
type Mask struct {
	// mu guards the following.
	mu sync.Mutex
	// names of the variables, by value and by part of a value.
	names    map[string]masked
	replacer *strings.Replacer
}

// masked is the variable of a value, or of a part of its value.
type masked struct {
	name string
	part bool
}

// goesBefore reports whether this variable is named where both could be meant.
func (v masked) goesBefore(other masked) bool {
	return !v.part && other.part || v.part == other.part && v.name < other.name
}

// minMasked is how long a value is at least, in bytes: a shorter one is part of too many words.
const minMasked = 4

// Add has the values taken out that the effective values of the set were expanded from, beside those of sets before.
func (m *Mask) Add(set *Set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := maps.Clone(m.names)
	for _, svc := range set.Services {
		m.addLocked(svc.variables)
	}
	if set.state != nil {
		m.addLocked(set.state.gateway.variables)
	}
	if maps.Equal(m.names, before) {
		return
	}
	values := make([]string, 0, len(m.names))
	for value := range m.names {
		values = append(values, value)
	}
	// The longest goes first where one is part of another.
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(values))
	for _, value := range values {
		pairs = append(pairs, value, variableText(m.names[value].name))
	}
	m.replacer = strings.NewReplacer(pairs...)
}

func (m *Mask) addLocked(v variables) {
	for _, e := range v {
		for _, variable := range e.variables {
			m.nameLocked(variable.value, masked{name: variable.name})
			// What is between the marks of an address or a path is mostly quoted alone.
			for _, part := range strings.FieldsFunc(variable.value, func(r rune) bool { return strings.ContainsRune("/:@?&=,; \t\n[]", r) }) {
				m.nameLocked(part, masked{name: variable.name, part: true})
			}
		}
	}
}

func (m *Mask) nameLocked(value string, of masked) {
	if len(value) < minMasked || isOrdinary(value) {
		return
	}
	if m.names == nil {
		m.names = map[string]masked{}
	}
	for _, form := range []string{value, strings.ToLower(value)} {
		if already, ok := m.names[form]; !ok || of.goesBefore(already) {
			m.names[form] = of
		}
	}
}

// isOrdinary reports whether a value is in many texts and tells nothing.
func isOrdinary(value string) bool {
	_, span := parseDuration(value)
	return span || slices.Contains(schemes, value) || slices.Contains([]string{"true", "false", "localhost", "127.0.0.1"}, value)
}

// Hide returns the text with ${NAME} in place of each value.
func (m *Mask) Hide(text string) string {
	m.mu.Lock()
	replacer := m.replacer
	m.mu.Unlock()
	if replacer == nil {
		return text
	}
	return replacer.Replace(text)
}
