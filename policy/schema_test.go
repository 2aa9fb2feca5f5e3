package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

var schemas = []struct {
	file     string
	generate func() []byte
}{
	{"service.json", Schema},
	{"defaults.json", SchemaDefaults},
	{"gateway.json", SchemaGateway},
}

// TestSchemaFiles: the published schemas are those that the code generates.
func TestSchemaFiles(t *testing.T) {
	for _, s := range schemas {
		path := filepath.Join("schema", s.file)
		if *update {
			if err := os.MkdirAll("schema", 0o755); err != nil {
				t.Fatal(err)
			}
		}
		compareGolden(t, path, string(s.generate()))
	}
}

func compileSchema(t *testing.T, generate func() []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(generate()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchemaAcceptsGoodPolicies: an editor marks nothing in a valid policy.
func TestSchemaAcceptsGoodPolicies(t *testing.T) {
	service := compileSchema(t, Schema)
	defaults := compileSchema(t, SchemaDefaults)
	gateway := compileSchema(t, SchemaGateway)
	for _, dir := range []string{"testdata/good", "testdata/lint", "../examples"} {
		for _, c := range loadCasesOf(t, dir) {
			for _, f := range c.files {
				if !isPolicyName(f.Name) {
					continue
				}
				schema := service
				switch {
				case isSpecial(f.Name, "defaults"):
					schema = defaults
				case isSpecial(f.Name, "gateway"):
					schema = gateway
				}
				for _, chunk := range split(f.Data) {
					if err := schema.Validate(decodeAny(t, chunk.text)); err != nil {
						t.Errorf("%s/%s: %v", c.name, f.Name, err)
					}
				}
			}
		}
	}
}

// TestSchemaRefusesBadPolicies: an editor marks what a schema can know.
func TestSchemaRefusesBadPolicies(t *testing.T) {
	service := compileSchema(t, Schema)
	gateway := compileSchema(t, SchemaGateway)
	refused := map[string]*jsonschema.Schema{
		"unknown-field": service, "unknown-nested-field": service, "missing-service": service, "missing-upstream": service,
		"service-name": service, "service-name-too-long": service, "not-a-map": service, "upstream-map": service,
		"route-without-match": service, "route-two-matches": service, "route-method": service, "route-header": service, "routes-not-a-list": service,
		"number-overflow": service, "number-quoted": service, "number-list": service, "threshold-zero": service, "duration-negative": service,
		"duration-unit": service, "duration-off-not-allowed": service, "share-over-one": service, "factor-under-one": service,
		"flag-yes": service, "section-not-a-map": service, "section-off-not-allowed": service, "retry-condition": service,
		"retry-condition-twice": service, "retry-condition-empty": service, "retry-condition-scalar": service, "retry-method": service,
		"upstream-empty-list": service, "duration-quoted": service, "field-of-the-document-in-a-section": service,
		"breaker-errors": service, "breaker-errors-empty": service, "fallback-status": service, "gateway-fault": gateway,
	}
	seen := 0
	for _, c := range loadCases(t, "bad") {
		schema := refused[c.name]
		if schema == nil {
			continue
		}
		seen++
		if err := schema.Validate(decodeAny(t, split(c.files[0].Data)[0].text)); err == nil {
			t.Errorf("%s is accepted", c.name)
		}
	}
	if seen != len(refused) {
		t.Errorf("%d cases of %d are there", seen, len(refused))
	}
}

func decodeAny(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}
