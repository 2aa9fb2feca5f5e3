package main

import (
	"testing"
	"time"
)

func TestRemaining(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		-time.Second: "now", 0: "now", time.Millisecond: "100ms", 1234 * time.Millisecond: "1.2s", 9_960 * time.Millisecond: "10s",
		42_400 * time.Millisecond: "42s", 59_700 * time.Millisecond: "1m", time.Minute: "1m", 90 * time.Second: "1m30s",
		time.Hour: "1h", time.Hour + time.Second: "1h0m1s", 26 * time.Hour: "26h",
	} {
		if got := remaining(now.Add(left), now); got != want {
			t.Errorf("remaining of %v is %q, want %q", left, got, want)
		}
	}
}
