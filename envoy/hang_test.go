package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSilence(t *testing.T) {
	type probe struct {
		answered     bool
		took, worked time.Duration
	}
	silent := func(n int, took, worked time.Duration) []probe {
		return slices.Repeat([]probe{{false, took, worked}}, n)
	}
	answer := []probe{{true, time.Second, 0}}
	for name, tt := range map[string]struct {
		probes []probe
		hangs  bool
	}{
		"answers":                         {answer, false},
		"7 s":                             {slices.Concat(answer, silent(7, time.Second, 0)), false},
		"8 s":                             {slices.Concat(answer, silent(8, time.Second, 0)), true},
		"8 s with an answer between":      {slices.Concat(answer, silent(4, time.Second, 0), answer, silent(4, time.Second, 0)), false},
		"busy":                            {slices.Concat(answer, silent(59, time.Second, time.Second/2)), false},
		"busy for too long":               {slices.Concat(answer, silent(60, time.Second, time.Second/2)), true},
		"has not answered yet":            {silent(19, time.Second, 0), false},
		"has not answered for too long":   {silent(20, time.Second, 0), true},
		"this process did not run itself": {slices.Concat(answer, silent(2, time.Hour, 0)), false},
	} {
		var s silence
		for _, p := range tt.probes {
			s.add(p.answered, p.took, probeEvery+probeTimeout, p.worked)
		}
		if s.hangs() != tt.hangs {
			t.Errorf("%s: hangs() = %t", name, s.hangs())
		}
	}
}

// An Envoy that answers in whatever way does not hang.
func TestUntilHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := 0
		start := time.Now().Add(firstEvery - probeEvery)
		hangs := untilHang(t.Context(), os.Getpid(), func(ctx context.Context) error {
			if answers++; answers <= 100 {
				return fmt.Errorf("ready: %w", &StatusError{Code: 503})
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if took := time.Since(start) - 100*time.Second; !hangs || took < hangTime || took > hangTime+probeTimeout {
			t.Errorf("untilHang = %t, %v after the last answer", hangs, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if untilHang(ctx, os.Getpid(), func(context.Context) error { return errors.New("refused") }) {
			t.Error("it hangs, though its context has ended")
		}
	})
}

func TestEnvironmentIsAllowListed(t *testing.T) {
	t.Setenv("A_SECRET", "hunter2")
	t.Setenv("LC_TIME", "C")
	t.Setenv("GODEBUG", "x")
	t.Setenv("SSL_CERT_DIR", "/certs")
	got := environment()
	for _, v := range got {
		if name, _, _ := strings.Cut(v, "="); !slices.Contains(inherited, name) && !strings.HasPrefix(name, "LC_") {
			t.Errorf("Envoy gets %s", v)
		}
	}
	for _, want := range []string{"LC_TIME=C", "SSL_CERT_DIR=/certs", "PATH=" + os.Getenv("PATH")} {
		if !slices.Contains(got, want) {
			t.Errorf("Envoy does not get %s", want)
		}
	}
}

func TestCPUTime(t *testing.T) {
	if cpuTime(os.Getpid()) < 0 || cpuTime(1<<30) != 0 {
		t.Errorf("cpuTime of this process %v, of none %v", cpuTime(os.Getpid()), cpuTime(1<<30))
	}
}
