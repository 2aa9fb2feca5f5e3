package policy

import "strings"

// Nearest returns the candidate that s is most likely a misspelling of, or "". One
// that shares no letter is none. Without a misspelling it is the only candidate that begins with s.
func Nearest(s string, candidates []string) string {
	if len(s) > 64 {
		return ""
	}
	best, bestDistance := "", 1+max(1, len(s)/3)
	for _, c := range candidates {
		if max(len(s)-len(c), len(c)-len(s)) >= bestDistance {
			continue
		}
		if d := editDistance(s, c); d < min(bestDistance, max(len(s), len(c))) {
			best, bestDistance = c, d
		}
	}
	if best == "" && len(s) >= minPrefix {
		for _, c := range candidates {
			switch {
			case !strings.HasPrefix(c, s):
			case best != "":
				return ""
			default:
				best = c
			}
		}
	}
	return best
}

// minPrefix is how much of a name says which is meant, in bytes.
const minPrefix = 3

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	previous := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	next := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], previous[j-2]+1)
			}
		}
		previous, row, next = row, next, previous
	}
	return row[len(b)]
}
