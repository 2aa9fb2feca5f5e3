package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/charmbracelet/colorprofile"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
	outputYAML  = "yaml"
)

func checkOutput(output string) error {
	switch output {
	case outputTable, outputJSON, outputYAML:
		return nil
	}
	return usagef("output %q is none of table, json, yaml", output)
}

// printMessage prints a message of the API in the API's own shape, as JSON or YAML.
func printMessage(w io.Writer, output string, m proto.Message) error {
	data, err := messageJSON(m)
	if err != nil {
		return err
	}
	return printJSON(w, output, data)
}

func messageJSON(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
}

// printJSON prints JSON indented, or as YAML with the fields in the same order.
func printJSON(w io.Writer, output string, data []byte) error {
	var out bytes.Buffer
	if output == outputYAML {
		var doc yaml.Node
		if err := yaml.Unmarshal(data, &doc); err != nil {
			return err
		}
		blockStyle(&doc)
		enc := yaml.NewEncoder(&out)
		enc.SetIndent(2)
		if err := enc.Encode(&doc); err != nil {
			return err
		}
	} else {
		if err := json.Indent(&out, data, "", "  "); err != nil {
			return err
		}
		out.WriteByte('\n')
	}
	_, err := w.Write(out.Bytes())
	return err
}

// printCompact prints JSON in one line. protojson alone varies its space from build to build.
func printCompact(w io.Writer, data []byte) error {
	var out bytes.Buffer
	if err := json.Compact(&out, data); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err := w.Write(out.Bytes())
	return err
}

// blockStyle turns JSON's braces and quotes into YAML's lines. Empty lists stay [].
func blockStyle(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode || len(n.Content) > 0 {
		n.Style = 0
	}
	for _, child := range n.Content {
		blockStyle(child)
	}
}

// columnGap is the cells between two columns.
const columnGap = 2

// grid is a table of text. Cells that are the name of a state get its colour.
type grid struct {
	headers []string
	rows    [][]string
}

// row adds a row; control characters are taken out of its cells.
func (g *grid) row(cells ...string) {
	for i, c := range cells {
		cells[i] = oneLine(c)
	}
	g.rows = append(g.rows, cells)
}

// states are the colours of the states, from the terminal's own palette.
var states = map[string]lipgloss.Style{
	"closed":      lipgloss.NewStyle().Foreground(lipgloss.Green),
	"open":        lipgloss.NewStyle().Foreground(lipgloss.Red),
	"half_open":   lipgloss.NewStyle().Foreground(lipgloss.Yellow),
	"forced_open": lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true),
	"disabled":    lipgloss.NewStyle().Foreground(lipgloss.Blue),
	"unknown":     lipgloss.NewStyle().Foreground(lipgloss.Magenta),
}

// print writes the table. Styles appear only on a terminal, and colours only where the
// environment does not turn them off (no-color.org).
func (g *grid) print(w io.Writer) error {
	for _, line := range g.render(colorprofile.Detect(w, os.Environ())) {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// render gives the table's lines, in columns two spaces apart.
func (g *grid) render(profile colorprofile.Profile) []string {
	t := table.New().
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).
		BorderHeader(false).BorderColumn(false).BorderRow(false).
		Wrap(false).
		Headers(g.headers...).
		Rows(g.rows...).
		StyleFunc(func(row, col int) lipgloss.Style {
			style := lipgloss.NewStyle()
			if row == table.HeaderRow {
				style = style.Bold(true)
			} else if s, ok := states[g.rows[row][col]]; ok {
				style = s
			}
			if col < len(g.headers)-1 {
				style = style.PaddingRight(columnGap)
			}
			return style
		})
	var styled bytes.Buffer
	writer := colorprofile.Writer{Forward: &styled, Profile: profile}
	// Writing to a buffer does not fail.
	_, _ = writer.WriteString(t.String())
	var lines []string
	for line := range strings.Lines(styled.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}

// oneLine takes line breaks and control characters out of text that others wrote, so
// that it can neither break a table nor speak to the terminal.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
}

// columns are cells two spaces apart, as in a table without an end.
func columns(cells ...string) string {
	for i, c := range cells {
		cells[i] = oneLine(c)
	}
	return strings.Join(cells, "  ")
}

// count is such as "1 service" or "2 services".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// formatTime is empty for an unset time. It is UTC, to the second.
func formatTime(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339)
}

// shortType is the last part of a type URL: Cluster.
func shortType(typeURL string) string {
	return typeURL[strings.LastIndexAny(typeURL, "./")+1:]
}

// The bounds of what is shown of a refusal: Envoy quotes whole messages, and the reason stands at the end.
const (
	shownHead = 150
	shownTail = 450
)

// refusalText leaves out the middle of a long text.
func refusalText(s string) string {
	runes := []rune(oneLine(s))
	if len(runes) <= shownHead+shownTail {
		return string(runes)
	}
	return string(runes[:shownHead]) + " … " + string(runes[len(runes)-shownTail:])
}

// proxyList is ids in one line; more of them are left out.
func proxyList(ids []string, more uint32) string {
	text := strings.Join(ids, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
