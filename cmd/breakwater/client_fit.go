package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// Cells that a narrow table gives to its columns.
const (
	// enoughSummary is what the summary has before other columns may stay, and leastSummary before the last of them may.
	enoughSummary, leastSummary = 44, 20
	// longService is as much of a service's name as stays while it is the summary that lacks room, and leastService as
	// much as always stays.
	longService, leastService = 24, 12
)

// dispensable are the columns that a narrow terminal does without, the first to go first.
var dispensable = []string{"ERRORS", "ATTEMPTS", "EJECTED", "WINDOW"}

// fittedBreakerGrid is breakerGrid for a terminal of so many cells a line; 0 for one that is not known. Where they are
// not enough, columns are left out, so that state and cause stay readable, and what is too long is cut.
func fittedBreakerGrid(breakers []*adminpb.Breaker, now time.Time, width int) *grid {
	g := breakerGrid(breakers, now)
	last := len(g.headers) - 1
	if width <= 0 || g.need(width) <= width {
		return g
	}
	for i, b := range breakers {
		g.rows[i][last] = oneLine(shortSummary(b))
	}
	for _, header := range dispensable {
		if g.need(enoughSummary) > width {
			g.drop(header)
		}
	}
	g.cutBy(0, g.need(enoughSummary)-width, longService)
	if g.need(leastSummary) > width {
		g.drop("UNTIL")
	}
	g.cutBy(0, g.need(leastSummary)-width, leastService)
	g.cut(len(g.headers)-1, max(width-g.need(0), 1))
	return g
}

// shortSummary is summaryOf without what the state says already.
func shortSummary(b *adminpb.Breaker) string {
	o := b.GetOverview()
	cause := causeOf(o)
	if o.GetProxies() == 0 || cause == "" {
		return b.GetSummary()
	}
	return fmt.Sprintf("on %d of %d: %s", o.GetProxiesInState(), o.GetProxies(), cause)
}

// widths are the cells that each column needs.
func (g *grid) widths() []int {
	out := make([]int, len(g.headers))
	for _, row := range append(slices.Clone(g.rows), g.headers) {
		for i, cell := range row {
			out[i] = max(out[i], ansi.StringWidth(cell))
		}
	}
	return out
}

// need is the cells of a line whose last column has at most so many.
func (g *grid) need(atLast int) int {
	widths := g.widths()
	last := len(widths) - 1
	total := min(widths[last], atLast) + columnGap*last
	for _, w := range widths[:last] {
		total += w
	}
	return total
}

// drop takes a column out.
func (g *grid) drop(header string) {
	i := slices.Index(g.headers, header)
	g.headers = slices.Delete(g.headers, i, i+1)
	for r := range g.rows {
		g.rows[r] = slices.Delete(g.rows[r], i, i+1)
	}
}

// cut shortens the cells of a column to so many cells of the terminal.
func (g *grid) cut(column, cells int) {
	for _, row := range append(slices.Clone(g.rows), g.headers) {
		row[column] = cutLine(row[column], cells)
	}
}

// cutBy shortens the cells of a column by so many cells of the terminal, but not to less than least.
func (g *grid) cutBy(column, over, least int) {
	if over > 0 {
		g.cut(column, max(least, g.widths()[column]-over))
	}
}

// cutLine is at most so many cells of a line, which may be styled; a line that is cut ends in "…".
func cutLine(line string, cells int) string { return ansi.Truncate(line, cells, "…") }
