package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves the shop on free ports until the test ends.
func start(t *testing.T) *Server {
	t.Helper()
	services := Services()
	for i := range services {
		services[i].Port = 0
	}
	s := New(Options{Services: services, Ctl: "127.0.0.1:0"})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		for _, svc := range s.services {
			if l, err := net.Listen("tcp", svc.addr); err != nil {
				t.Errorf("port left: %v", err)
			} else {
				l.Close()
			}
		}
	})
	return s
}

// call makes one request on a connection of its own.
func call(t *testing.T, method, url string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func wantStatus(t *testing.T, want int, method, url string) string {
	t.Helper()
	status, body, err := call(t, method, url)
	if err != nil || status != want {
		t.Fatalf("%s %s: %d %s %v, want %d", method, url, status, body, err, want)
	}
	return body
}

func control(t *testing.T, s *Server, b Behaviour) {
	t.Helper()
	if err := Control(t.Context(), s.CtlAddr(), "fraud-service", b); err != nil {
		t.Fatal(err)
	}
}

func TestHealthyServicesAnswerJSON(t *testing.T) {
	s := start(t)
	for _, svc := range s.services {
		for _, path := range []string{"/health", "/api/v1/anything?q=1"} {
			body := wantStatus(t, http.StatusOK, http.MethodGet, "http://"+s.Addr(svc.Name)+path)
			if !json.Valid([]byte(body)) {
				t.Errorf("%s%s: not JSON: %s", svc.Name, path, body)
			}
		}
		wantStatus(t, http.StatusNotFound, http.MethodGet, "http://"+s.Addr(svc.Name)+"/nothing")
	}
}

func TestFail(t *testing.T) {
	s := start(t)
	url := "http://" + s.Addr("fraud-service")
	control(t, s, Behaviour{FailPercent: 100})
	wantStatus(t, http.StatusInternalServerError, http.MethodGet, url+"/api/v1/fraud")
	wantStatus(t, http.StatusInternalServerError, http.MethodGet, url+"/health")
	wantStatus(t, http.StatusOK, http.MethodGet, "http://"+s.Addr("search-service")+"/health")

	control(t, s, Behaviour{FailPercent: 20, FailStatus: http.StatusServiceUnavailable})
	failed := 0
	for range 20 {
		if status, _, _ := call(t, http.MethodPost, url+"/api/v1/fraud"); status == http.StatusServiceUnavailable {
			failed++
		}
	}
	if failed != 4 {
		t.Errorf("%d of 20 requests failed, want 4", failed)
	}
	control(t, s, Behaviour{})
	wantStatus(t, http.StatusOK, http.MethodGet, url+"/health")
}

func TestDelay(t *testing.T) {
	s := start(t)
	url := "http://" + s.Addr("fraud-service") + "/health"
	const delay = 80 * time.Millisecond
	control(t, s, Behaviour{Delay: delay})
	began := time.Now()
	wantStatus(t, http.StatusOK, http.MethodGet, url)
	if took := time.Since(began); took < delay {
		t.Errorf("answered after %v, want at least %v", took, delay)
	}
	// A delay does not keep the server from ending.
	control(t, s, Behaviour{Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if _, err := http.DefaultTransport.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a delayed request: %v, want the deadline", err)
	}
}

func TestReset(t *testing.T) {
	s := start(t)
	control(t, s, Behaviour{Reset: true})
	if _, _, err := call(t, http.MethodGet, "http://"+s.Addr("fraud-service")+"/health"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error %v, want a connection reset", err)
	}
}

func TestRefuseAndHeal(t *testing.T) {
	s := start(t)
	url := "http://" + s.Addr("fraud-service")
	// An idle connection of before does not keep the service alive.
	kept := &http.Client{Transport: &http.Transport{}}
	defer kept.CloseIdleConnections()
	resp, err := kept.Get(url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()

	// On its own port, whose reply still arrives.
	wantStatus(t, http.StatusOK, http.MethodPost, url+"/ctl?refuse=on")
	if _, _, err := call(t, http.MethodGet, url+"/health"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v, want a refused connection", err)
	}
	control(t, s, Behaviour{Refuse: true, Delay: time.Second})
	control(t, s, Behaviour{})
	wantStatus(t, http.StatusOK, http.MethodGet, url+"/health")
}

func TestHealFailsWhileThePortIsTaken(t *testing.T) {
	s := start(t)
	control(t, s, Behaviour{Refuse: true})
	l, err := net.Listen("tcp", s.Addr("fraud-service"))
	if err != nil {
		t.Fatal(err)
	}
	err = Control(t.Context(), s.CtlAddr(), "fraud-service", Behaviour{})
	if err == nil || !strings.Contains(err.Error(), "409: "+s.Addr("fraud-service")+": the address that fraud-service wants is in use") {
		t.Errorf("Control = %v, want that the address is in use", err)
	}
	l.Close()
	control(t, s, Behaviour{})
}

func TestStateIsShown(t *testing.T) {
	s := start(t)
	control(t, s, Behaviour{FailPercent: 50})
	for range 4 {
		_, _, _ = call(t, http.MethodGet, "http://"+s.Addr("fraud-service")+"/health")
	}
	var shown struct {
		Services []struct {
			Service   string
			Address   string
			Requests  int
			Failed    int
			Behaviour struct{ Summary, Fail string }
		}
	}
	body := wantStatus(t, http.StatusOK, http.MethodGet, "http://"+s.CtlAddr()+"/ctl")
	if err := json.Unmarshal([]byte(body), &shown); err != nil {
		t.Fatal(err)
	}
	if len(shown.Services) != 7 {
		t.Fatalf("%d services are shown, want 7", len(shown.Services))
	}
	got := shown.Services[4]
	if got.Service != "fraud-service" || got.Requests != 4 || got.Failed != 2 || got.Behaviour.Fail != "50%" ||
		got.Address != s.Addr("fraud-service") || got.Behaviour.Summary != "fails 50% with 500" {
		t.Errorf("state = %+v", got)
	}
	wantStatus(t, http.StatusOK, http.MethodGet, "http://"+s.Addr("fraud-service")+"/ctl")
}

func TestControlErrors(t *testing.T) {
	s := start(t)
	own, common := "http://"+s.Addr("fraud-service")+"/ctl", "http://"+s.CtlAddr()+"/ctl"
	for url, want := range map[string]string{
		common + "?fail=on":                         `no service \"\": there are recommendation-service, `,
		common + "?service=fraud&fail=on":           `no service \"fraud\": there are`,
		common + "?service=fraud-service&fail=many": "fail=many: must be on, off",
		own + "?service=search-service&fail=on":     "service: this is fraud-service",
		own:                                         "give at least one of",
		own + "?delay=soon":                         "delay=soon: must be a duration",
	} {
		if body := wantStatus(t, http.StatusBadRequest, http.MethodPost, url); !strings.Contains(body, want) {
			t.Errorf("POST %s: %s, want %q", url, body, want)
		}
	}
	wantStatus(t, http.StatusMethodNotAllowed, http.MethodDelete, own)
	wantStatus(t, http.StatusNotFound, http.MethodGet, "http://"+s.CtlAddr()+"/")
	if err := Control(t.Context(), s.CtlAddr(), "nobody", Behaviour{}); err == nil || !strings.Contains(err.Error(), `400: no service "nobody"`) {
		t.Errorf("Control of an unknown service = %v", err)
	}
}

func TestListenNamesTheTakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := uint16(taken.Addr().(*net.TCPAddr).Port)
	s := New(Options{Ctl: "127.0.0.1:0", Services: []Service{{Name: "a"}, {Name: "b", Port: port}}})
	want := taken.Addr().String() + ": the address that b wants is in use by another process"
	if err := s.Listen(); err == nil || err.Error() != want {
		t.Errorf("Listen() = %v, want %s", err, want)
	}
	for _, addr := range []string{s.CtlAddr(), s.Addr("a")} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("left bound: %v", err)
			continue
		}
		l.Close()
	}
}

func TestPortsOfTheShop(t *testing.T) {
	for i, svc := range Services() {
		if want := uint16(8001 + i); svc.Port != want {
			t.Errorf("%s listens on %d, want %d", svc.Name, svc.Port, want)
		}
		if !json.Valid([]byte(svc.Reply)) {
			t.Errorf("%s: the reply is not JSON: %s", svc.Name, svc.Reply)
		}
	}
}
