// Command go is a caller in Go that tells an open circuit from an error by the reply, and falls
// back: go run ./examples/clients/go GATEWAY PATH [METHOD]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"
)

// timeout is above the policy's timeout.request: it is for the case that the gateway itself is gone.
const timeout = 35 * time.Second

// maxBody bounds what is read of a reply.
const maxBody = 1 << 20

// UnavailableError is returned if the gateway refused: the circuit of the service is open, or a limit is
// reached. Whether it is safe to ask again, MayRepeat says.
type UnavailableError struct {
	// Kind is "open" or "overloaded".
	Kind string
	// RetryAfter is when it may be worth to ask again.
	RetryAfter time.Duration
	// Attempts is how many attempts were made before, and may have reached the service. It is 0 where nothing
	// was sent, but the circuit can also open between the attempts of one request that the gateway retries.
	Attempts int
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s after %d attempts, retry after %v", e.Kind, e.Attempts, e.RetryAfter)
}

// MayRepeat reports whether to ask again does no harm: the service can not have acted, or may act twice.
// The latter also holds for any request with a key by which the service does it once only.
func (e *UnavailableError) MayRepeat(method string) bool {
	return e.Attempts == 0 || slices.Contains(idempotent, method)
}

// idempotent are the methods that may be done twice (RFC 9110, 9.2.2).
var idempotent = []string{
	http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete,
}

// FailedError is returned if the service, or the way to it, failed. It may have acted: repeat only what
// may be done twice.
type FailedError struct {
	// Kind is "gateway_error" or "service_error".
	Kind   string
	Status int
	// Reason is the field "error" of the reply.
	Reason string
}

func (e *FailedError) Error() string { return fmt.Sprintf("%s: %d %s", e.Kind, e.Status, e.Reason) }

// Ask sends a request through the gateway. fallback is true if the reply is the policy's substitute. It
// retries nothing: the gateway has done so.
func Ask(ctx context.Context, client *http.Client, method, url string) (value json.RawMessage, fallback bool, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, false, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, false, err
	}
	switch resp.Header.Get("X-Circuit-Breaker") {
	case "open":
		return nil, false, &UnavailableError{Kind: "open", RetryAfter: retryAfter(resp, time.Minute), Attempts: attempts(resp)}
	case "overloaded":
		return nil, false, &UnavailableError{Kind: "overloaded", RetryAfter: retryAfter(resp, time.Second), Attempts: attempts(resp)}
	case "fallback":
		return body, true, nil
	}
	if resp.StatusCode < http.StatusBadRequest {
		return body, false, nil
	}
	var reason struct {
		Error string `json:"error"`
	}
	failed := &FailedError{Kind: "service_error", Status: resp.StatusCode}
	if json.Unmarshal(body, &reason) == nil {
		failed.Reason = reason.Error
	}
	switch failed.Reason {
	case "upstream_timeout", "connect_failure", "upstream_reset", "no_route", "gateway_error":
		failed.Kind = "gateway_error"
	}
	return nil, false, failed
}

func attempts(resp *http.Response) int {
	n, err := strconv.Atoi(resp.Header.Get("X-Circuit-Breaker-Attempts"))
	if err != nil || n < 0 {
		return 1 // it is not said: suppose that there was one
	}
	return n
}

func retryAfter(resp *http.Response, otherwise time.Duration) time.Duration {
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return otherwise
}

// ownFallback is what this caller works with while the service can not be asked.
const ownFallback = `{"price": null, "note": "ask us"}`

// answer is what is known, and where from.
type answer struct {
	Kind       string          `json:"kind"`
	Source     string          `json:"source"`
	Status     int             `json:"status,omitempty"`
	Error      string          `json:"error,omitempty"`
	RetryAfter float64         `json:"retry_after,omitempty"` // seconds
	Attempts   *int            `json:"attempts,omitempty"`
	MayRepeat  *bool           `json:"may_repeat,omitempty"`
	Value      json.RawMessage `json:"value,omitempty"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 && len(args) != 3 {
		return errors.New("usage: go run ./examples/clients/go GATEWAY PATH [METHOD]")
	}
	method := http.MethodGet
	if len(args) == 3 {
		method = args[2]
	}
	value, fallback, err := Ask(context.Background(), &http.Client{Timeout: timeout}, method, args[0]+args[1])
	a := answer{Kind: "ok", Source: "service", Value: value}
	var unavailable *UnavailableError
	var failed *FailedError
	switch {
	case errors.As(err, &unavailable):
		again := unavailable.MayRepeat(method)
		a = answer{
			Kind: unavailable.Kind, RetryAfter: unavailable.RetryAfter.Seconds(), Attempts: &unavailable.Attempts,
			MayRepeat: &again, Source: "caller", Value: json.RawMessage(ownFallback),
		}
	case errors.As(err, &failed):
		a = answer{Kind: failed.Kind, Source: "none", Status: failed.Status, Error: failed.Reason}
	case err != nil:
		return err
	case fallback:
		a.Kind, a.Source = "fallback", "policy"
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}
