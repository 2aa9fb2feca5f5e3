package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	controlTimeout = 10 * time.Second
	maxControlBody = 1 << 10
)

// Control tells the service of the demo whose control listener is at ctlAddr, a
// host:port, how to behave from now on. The zero Behaviour heals it.
func Control(ctx context.Context, ctlAddr, service string, b Behaviour) error {
	query := b.values()
	query.Set(paramService, service)
	u := url.URL{Scheme: "http", Host: ctlAddr, Path: "/ctl", RawQuery: query.Encode()}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("demo services at %s: %w", ctlAddr, err)
	}
	// One call: the connection is not kept.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("demo services at %s: %w", ctlAddr, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxControlBody))
	if err != nil {
		return fmt.Errorf("demo services at %s: %w", ctlAddr, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("demo services at %s: %d: %s", ctlAddr, resp.StatusCode, errorText(body))
	}
	return nil
}

// errorText is the message of an error reply.
func errorText(body []byte) string {
	var reply struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &reply) == nil && reply.Error != "" {
		return reply.Error
	}
	return strings.TrimSpace(string(body))
}

// serveControl serves the common control address.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/ctl" {
		writeError(w, http.StatusNotFound, fmt.Errorf("not found: there is /ctl"))
		return
	}
	all := func() any {
		states := make([]state, 0, len(s.services))
		for _, svc := range s.services {
			states = append(states, svc.state())
		}
		return map[string]any{"services": states}
	}
	serveControl(w, r, s.guard, all, s.find)
}

// serveControl shows what there is to GET, and changes the service that find returns
// for the request's service parameter to POST, if the guard admits the request.
func serveControl(w http.ResponseWriter, r *http.Request, g *guard, show func() any, find func(name string) (*service, error)) {
	if !g.admit(w, r) {
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		writeValue(w, http.StatusOK, show())
	case http.MethodPost:
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			writeError(w, http.StatusBadRequest, err)
			return
		}
		svc, err := find(values.Get(paramService))
		if err != nil {
			writeError(w, http.StatusBadRequest, err)
			return
		}
		b, err := ParseBehaviour(values)
		if err != nil {
			writeError(w, http.StatusBadRequest, err)
			return
		}
		if err := svc.behave(b); err != nil {
			writeError(w, http.StatusConflict, err)
			return
		}
		writeValue(w, http.StatusOK, svc.state())
	default:
		w.Header().Set("Allow", "GET, POST")
		writeError(w, http.StatusMethodNotAllowed, fmt.Errorf("use GET or POST"))
	}
}

func writeError(w http.ResponseWriter, status int, err error) {
	writeValue(w, status, map[string]string{"error": err.Error()})
}

func writeValue(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, status, string(body))
}

func writeJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The caller may be gone: nothing to do about it.
	_, _ = io.WriteString(w, body+"\n")
}
