package policy

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestPlaceOfSyntaxErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		text         string
		line, column int
	}{
		"a bracket that is not closed":   {"service: a\nupstream: [http://a\nretry: {}\n", 2, 11},
		"a brace in the first line":      {"retry: {max_retries: 1\n", 1, 8},
		"a quote that is not closed":     {"service: a\nupstream: \"http://a\n", 2, 11},
		"a bracket too many":             {"service: a\nlist: [b, c]]\n", 2, 13},
		"a colon too many":               {"service: a\nupstream: b: c\n", 2, 12},
		"a line without a colon":         {"service a\nupstream: b\n", 2, 9},
		"a character that begins none":   {"service: a\n  # comment\nupstream: @b\n", 3, 11},
		"after letters of several bytes": {"service: a\nnäme: 'über'x\n", 2, 13},
		"a tab":                          {"service: a\nretry:\n\tmax_retries: 1\n", 3, 1},
		"a list in a map":                {"service: a\n- b\n", 2, 1},
		"a line that is too long":        {"service: a\n  " + strings.Repeat("x", maxSearchedColumns) + ": [\n", 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			err := unmarshal([]byte(tt.text), new(yaml.Node))
			if err == nil {
				t.Fatal("it parses")
			}
			if line, column, message := syntaxError([]byte(tt.text), err, true); line != tt.line || column != tt.column {
				t.Errorf("%d:%d: %s, want %d:%d", line, column, message, tt.line, tt.column)
			}
		})
	}
}
