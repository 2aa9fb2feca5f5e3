package policy

//go:generate go run ../tools/policyreference -o ../docs/policy.md -lint lint.go

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Schema returns the JSON Schema (draft 2020-12) of one service's document.
func Schema() []byte {
	return schemaOf(reflect.TypeFor[document](), documentPlan, "Breakwater service policy")
}

// SchemaDefaults returns the JSON Schema of defaults.yaml.
func SchemaDefaults() []byte {
	return schemaOf(reflect.TypeFor[defaultsDocument](), defaultsPlan, "Breakwater defaults.yaml")
}

// SchemaGateway returns the JSON Schema of gateway.yaml.
func SchemaGateway() []byte {
	return schemaOf(reflect.TypeFor[gatewayDocument](), gatewayPlan, "Breakwater gateway.yaml")
}

func schemaOf(t reflect.Type, p *plan, title string) []byte {
	s := reflectSchema(t, p)
	s.Version = jsonschema.Version
	s.Title = title
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		// The schema is made of fixed types.
		panic("policy: " + err.Error())
	}
	return out.Bytes()
}

// reflectSchema generates the schema of a raw document struct.
func reflectSchema(t reflect.Type, p *plan) *jsonschema.Schema {
	r := jsonschema.Reflector{Anonymous: true, DoNotReference: true, Mapper: leafSchema}
	s := r.ReflectFromType(t)
	s.Version = ""
	p.annotate(reflect.New(t).Elem(), s)
	return s
}

// reference is a string that names a variable: it can stand for any value.
func reference() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `\$\{`}
}

func orReference(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, reference()}}
}

func listOf(item *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: item, UniqueItems: true}
}

// verbatim also allows what YAML takes for a number or a boolean: a text is taken as
// it is written.
func verbatim(s *jsonschema.Schema) *jsonschema.Schema {
	return anyOf(s, &jsonschema.Schema{Type: "number"}, &jsonschema.Schema{Type: "boolean"})
}

func enum(words []string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, w := range words {
		s.Enum = append(s.Enum, w)
	}
	return s
}

func anyOf(list ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{AnyOf: list} }

const decimals = `^[0-9]+(\.[0-9]+)?`

// leafSchema maps the types of single values, which are not what reflection would
// make of them. It is nil for sections.
func leafSchema(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[text]():
		return verbatim(&jsonschema.Schema{Type: "string"})
	case reflect.TypeFor[label]():
		return anyOf(&jsonschema.Schema{Type: "string", Pattern: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`},
			&jsonschema.Schema{Type: "integer", Minimum: "0"}, reference())
	case reflect.TypeFor[toggle]():
		return orReference(&jsonschema.Schema{Type: "boolean"})
	case reflect.TypeFor[count]():
		return orReference(&jsonschema.Schema{Type: "integer"})
	case reflect.TypeFor[span]():
		return anyOf(
			&jsonschema.Schema{Type: "string", Pattern: `^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`},
			&jsonschema.Schema{Type: "number", Minimum: "0"}, reference())
	case reflect.TypeFor[share]():
		return anyOf(
			&jsonschema.Schema{Type: "string", Pattern: decimals + `%$`},
			&jsonschema.Schema{Type: "number", Minimum: "0", Maximum: "1"}, reference())
	case reflect.TypeFor[factor]():
		return orReference(&jsonschema.Schema{Type: "number"})
	case reflect.TypeFor[address]():
		return orReference(&jsonschema.Schema{Type: "string", Pattern: `^.+:[0-9]+$`})
	case reflect.TypeFor[conditions]():
		return listOf(anyOf(enum(knownConditions), &jsonschema.Schema{Type: "integer", Minimum: "400", Maximum: "599"},
			&jsonschema.Schema{Type: "string", Pattern: `^[45][0-9][0-9]$`}, reference()))
	case reflect.TypeFor[methods]():
		return listOf(orReference(enum(knownMethods)))
	case reflect.TypeFor[hostNames]():
		return listOf(&jsonschema.Schema{Type: "string"})
	case reflect.TypeFor[statuses]():
		return listOf(anyOf(
			&jsonschema.Schema{Type: "string", Pattern: `^[1-5](xx|[0-9][0-9](-[1-5][0-9][0-9])?)$`},
			&jsonschema.Schema{Type: "integer", Minimum: "100", Maximum: "599"}, reference()))
	case reflect.TypeFor[headerValues]():
		return &jsonschema.Schema{Type: "object", AdditionalProperties: verbatim(&jsonschema.Schema{Type: "string"})}
	case reflect.TypeFor[upstreamValue]():
		hosts, one := listOf(&jsonschema.Schema{Type: "string"}), uint64(1)
		hosts.MinItems = &one
		return anyOf(&jsonschema.Schema{Type: "string"}, hosts)
	case reflect.TypeFor[routeList]():
		route := reflectSchema(reflect.TypeFor[routeDocument](), routePlan)
		for _, match := range []string{"prefix", "path", "regex"} {
			route.OneOf = append(route.OneOf, &jsonschema.Schema{Required: []string{match}})
		}
		return listOf(route)
	case reflect.TypeFor[headerConditions]():
		header := reflectSchema(reflect.TypeFor[headerDocument](), headerPlan)
		for _, match := range []string{"exact", "prefix", "regex", "present"} {
			header.OneOf = append(header.OneOf, &jsonschema.Schema{Required: []string{match}})
		}
		return listOf(header)
	case reflect.TypeFor[profileMap]():
		return &jsonschema.Schema{Type: "object", AdditionalProperties: reflectSchema(reflect.TypeFor[settings](), settingsPlan)}
	}
	return nil
}

// annotate adds to the properties of s what the tags say beside the types: bounds,
// defaults and off. v is a zero value of the plan's struct.
func (p *plan) annotate(v reflect.Value, s *jsonschema.Schema) {
	for _, f := range p.fields {
		property, _ := s.Properties.Get(f.name)
		if f.section != nil {
			f.section.annotate(v.FieldByIndex(f.index), property)
		} else {
			f.annotate(leafOf(v, f), property)
		}
		if f.off == "" {
			continue
		}
		word := &jsonschema.Schema{Const: off}
		if len(property.AnyOf) > 0 {
			property.AnyOf = append(property.AnyOf, word)
			continue
		}
		section := *property
		section.Description = ""
		s.Properties.Set(f.name, &jsonschema.Schema{
			Description: property.Description, AnyOf: []*jsonschema.Schema{&section, word},
		})
	}
}

func (f *field) annotate(l leaf, s *jsonschema.Schema) {
	_, isSpan := l.(*span)
	_, isText := l.(*text)
	switch {
	case isSpan && f.min != "":
		s.Description += " From " + f.min + " to " + f.max + "."
	case isText && f.max != "":
		if most, err := strconv.ParseUint(f.max, 10, 64); err == nil {
			s.AnyOf[0].MaxLength = &most
		}
	default:
		for _, branch := range s.AnyOf {
			if f.max != "" && (branch.Type == "integer" || branch.Type == "number") {
				branch.Minimum, branch.Maximum = json.Number(f.min), json.Number(f.max)
			}
		}
	}
	if !f.empty {
		one := uint64(1)
		if s.Type == "array" {
			s.MinItems = &one
		}
		if isText {
			s.AnyOf[0].MinLength = &one
		}
	}
	if f.standard == "" {
		return
	}
	// newPlan's documents have parsed every default before.
	scalar := l.(scalarLeaf)
	if err := scalar.parse(f.standard, anyKind, f); err != nil {
		panic("policy: default of " + f.name + ": " + err.Error())
	}
	if strings.HasSuffix(f.standard, "%") {
		s.Default = f.standard
		return
	}
	if isSpan {
		s.Default = f.standard
		return
	}
	var value any
	if err := yaml.Unmarshal(marshal(scalar.encode()), &value); err == nil {
		s.Default = value
	}
}
