package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	// setting is a row of the migration table that says which field a setting becomes: the setting's value, its
	// variable, the section and the field.
	setting = regexp.MustCompile("(?m)^\\| [^|]* \\| ([^|]*) \\| ([^|]*) \\| `([a-z_]+)\\.([a-z_]+)` \\|")
	ticked  = regexp.MustCompile("`([^`]+)`")
)

// TestMigrationTable: each setting becomes a field that there is, with the value and the variable that the table gives.
func TestMigrationTable(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	reference := read("policy.md")
	table, _, _ := strings.Cut(read("migration.md"), "## What is decided elsewhere now")
	values := 0
	for _, row := range setting.FindAllStringSubmatch(table, -1) {
		value, variable, section, field := strings.TrimSpace(row[1]), strings.TrimSpace(row[2]), row[3], row[4]
		_, fields, ok := strings.Cut(reference, "\n### "+section+"\n")
		fields, _, _ = strings.Cut(fields, "\n### ")
		entry := regexp.MustCompile("(?m)^\\| `" + field + "` \\| [^|]* \\| (?:`([^`]*)`)? *\\|").FindStringSubmatch(fields)
		if !ok || entry == nil {
			t.Errorf("the policy has no %s.%s", section, field)
			continue
		}
		if m := ticked.FindStringSubmatch(variable); m != nil && !strings.Contains(reference, "`"+m[1]+"`") {
			t.Errorf("%s.%s: there is no variable %s", section, field, m[1])
		}
		if value == "" || value == "all" || strings.HasPrefix(value, "`") {
			continue
		}
		values++
		was, err := time.ParseDuration(strings.ReplaceAll(value, " ", ""))
		is, err2 := time.ParseDuration(entry[1])
		if value != entry[1] && (err != nil || err2 != nil || was != is) {
			t.Errorf("%s.%s is %q by default, and was %q", section, field, entry[1], value)
		}
	}
	if values < 9 {
		t.Errorf("%d values were compared", values)
	}
}
