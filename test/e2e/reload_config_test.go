package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// configStatus is the reply of GET /api/v1/config.
type configStatus struct {
	OK       bool   `json:"ok"`
	Digest   string `json:"digest"`
	Services int    `json:"services"`
	Problems []struct {
		Severity string         `json:"severity"`
		Position configPosition `json:"position"`
		Service  string         `json:"service"`
		Message  string         `json:"message"`
	} `json:"problems"`
	Rejections []rejection `json:"rejections"`
	Stale      []string    `json:"stale_services"`
}

type rejection struct {
	Service  string         `json:"service"`
	TypeURL  string         `json:"type_url"`
	Proxies  []string       `json:"proxies"`
	Message  string         `json:"message"`
	Partial  bool           `json:"partial"`
	Position configPosition `json:"position"`
	Excerpt  []excerptLine  `json:"excerpt"`
}

// excerptLine is a line of a policy file.
type excerptLine struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

type configPosition struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

func (p configPosition) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

func (s *stack) config() configStatus {
	s.t.Helper()
	var c configStatus
	s.api("/api/v1/config", &c)
	return c
}

// untilClear waits until nothing is wrong with the policies.
func (s *stack) untilClear() {
	s.t.Helper()
	s.until("all that is on disk is served", func() error {
		if c := s.config(); !c.OK {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	if got := s.metric("breakwater_config_last_reload_successful"); got != 1 {
		s.t.Errorf("breakwater_config_last_reload_successful %v, want 1", got)
	}
}

// untilProblem waits for an error at a place in a file, and checks that the status command, the metrics and
// the log say the same.
func (s *stack) untilProblem(file string, line int) {
	s.t.Helper()
	var at configPosition
	s.until(fmt.Sprintf("an error in %s, line %d", file, line), func() error {
		c := s.config()
		for _, p := range c.Problems {
			if at = p.Position; p.Severity == "error" && at.File == file && at.Line == line {
				return nil
			}
		}
		return fmt.Errorf("%+v", c)
	})
	if got := s.metric("breakwater_config_last_reload_successful"); got != 0 {
		s.t.Errorf("breakwater_config_last_reload_successful %v, want 0", got)
	}
	if got := s.metric(`breakwater_config_problems{severity="error"}`); got < 1 {
		s.t.Errorf("breakwater_config_problems %v, want at least 1", got)
	}
	place := "file=" + file
	if line > 0 {
		place = fmt.Sprintf("file=%s line=%d column=%d", file, line, at.Column)
	}
	if !strings.Contains(s.log.String(), place) {
		s.t.Errorf("the log does not say %q", place)
	}
}

// metric is the value of one series of Breakwater's, written as in the exposition format.
func (s *stack) metric(series string) float64 {
	s.t.Helper()
	body, err := s.fetch("http://" + s.http + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				s.t.Fatalf("%s: %v", series, err)
			}
			return v
		}
	}
	s.t.Fatalf("there is no series %s", series)
	return 0
}

// stat is one counter or gauge of an Envoy's; 0 if it has none of that name.
func (s *stack) stat(e *envoytest.Process, name string) uint64 {
	s.t.Helper()
	stats, err := e.Admin().Stats(s.t.Context(), envoy.StatsQuery{Filter: "^" + strings.ReplaceAll(name, ".", `\.`) + "$"})
	if err != nil {
		s.t.Fatal(err)
	}
	return stats[name]
}

// modified is how many clusters the stack's Envoy has replaced.
func (s *stack) modified() uint64 {
	s.t.Helper()
	return s.stat(s.envoy, "cluster_manager.cluster_modified")
}

// live waits until requests for a path have this timeout, as the upstream is told it.
func (s *stack) live(path string, u *envoytest.Upstream, seconds int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%s has a timeout of %d s", path, seconds), func() error {
		r, err := s.try(http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		last := u.Last()
		if last == nil || r.status != http.StatusOK {
			return errors.New("no request has arrived")
		}
		if got := last.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"); got != strconv.Itoa(1000*seconds) {
			return fmt.Errorf("it is %s ms", got)
		}
		return nil
	})
}
