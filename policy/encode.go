package policy

import (
	"reflect"

	"go.yaml.in/yaml/v3"
)

// encode writes the values that are set in v, all of them encodedLeaf, as a mapping, so that decoding it
// gives the same values.
func (p *plan) encode(v reflect.Value) *yaml.Node {
	n := mappingNode()
	for _, f := range p.fields {
		if f.section == nil {
			if l := leafOf(v, f); l.base().Set {
				appendField(n, f.name, l.(encodedLeaf).encode())
			}
			continue
		}
		s := v.FieldByIndex(f.index)
		g := f.section.gateOf(s)
		switch {
		case g == nil:
			if section := f.section.encode(s); len(section.Content) > 0 {
				appendField(n, f.name, section)
			}
		case g.State == gateOn:
			appendField(n, f.name, f.section.encode(s))
		case g.State == gateOff:
			appendField(n, f.name, g.encode())
		}
	}
	return n
}

func mappingNode() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

// scalarNode holds a word or number that needs no quotes.
func scalarNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// stringNode holds any string; expanding it gives s.
func stringNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: escape(s), Style: yaml.DoubleQuotedStyle}
}

func appendField(n *yaml.Node, name string, value *yaml.Node) {
	n.Content = append(n.Content, stringNode(name), value)
}

// marshal gives the text of a document made by encode.
func marshal(n *yaml.Node) []byte {
	data, err := yaml.Marshal(n)
	if err != nil {
		// encode makes only nodes that can be written.
		panic("policy: " + err.Error())
	}
	return data
}
