package envoy

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// MarshalJSON renders one of Envoy's messages as Envoy reads it, with the proto's
// field names, indented, ending in a newline. Equal messages give equal bytes.
func MarshalJSON(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	// protojson varies its spaces between builds on purpose.
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// MarshalYAML is MarshalJSON in YAML, with the fields in the same order.
func MarshalYAML(m proto.Message) ([]byte, error) {
	raw, err := MarshalJSON(m)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	clearStyle(&doc)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return nil, err
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// plain are strings that no reader of YAML takes for anything else: names, paths,
// durations and addresses. All others keep their quotes.
var plain = regexp.MustCompile(`^([A-Za-z/][A-Za-z0-9_./@?-]*|[0-9.]+s|\d+(\.\d+){3})$`)

// words are strings that plain matches and that Envoy's YAML reader takes for a
// boolean or nothing.
var words = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

// clearStyle takes JSON's braces and quotes off where YAML needs none. An empty list
// or map has no other form.
func clearStyle(n *yaml.Node) {
	switch {
	case n.Kind != yaml.ScalarNode:
		if len(n.Content) > 0 {
			n.Style = 0
		}
	case plain.MatchString(n.Value) && !slices.Contains(words, strings.ToLower(n.Value)):
		n.Style = 0
	}
	for _, c := range n.Content {
		clearStyle(c)
	}
}
