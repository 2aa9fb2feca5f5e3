package main

import (
	"strings"
	"time"
)

// remaining is the time until t in words of its largest units: 1h5m, 42s; "now" if it is over.
func remaining(t, now time.Time) string {
	left := t.Sub(now)
	switch {
	case left <= 0:
		return "now"
	case left >= 10*time.Second:
		left = left.Round(time.Second)
	default:
		left = max(left.Round(100*time.Millisecond), 100*time.Millisecond)
	}
	text := left.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
