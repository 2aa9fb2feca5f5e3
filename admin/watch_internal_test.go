package admin

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

// silentModel sends an empty snapshot and then nothing.
type silentModel struct{ Model }

func (silentModel) Watch(context.Context, breaker.WatchQuery) (<-chan iter.Seq[breaker.Breaker], error) {
	changes := make(chan iter.Seq[breaker.Breaker], 1)
	changes <- func(func(breaker.Breaker) bool) {}
	return changes, nil
}

func TestIdleWatchIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{model: silentModel{}, stopping: t.Context(), streams: make(chan struct{}, 1), pageBytes: maxPage}
		begin := time.Now()
		gone := errors.New("the client is gone")
		snapshots, alive := 0, 0
		err := s.watch(t.Context(), &adminpb.WatchBreakersRequest{}, func(m *adminpb.WatchBreakersResponse) error {
			if m.Snapshot {
				snapshots++
			}
			return nil
		}, func() error {
			if alive++; alive == 3 {
				return gone
			}
			return nil
		})
		if !errors.Is(err, gone) || snapshots != 1 || time.Since(begin) != 3*watchKeepAlive {
			t.Errorf("ended with %v after %v and %d snapshots, want the third keep-alive's error after %v and one snapshot",
				err, time.Since(begin), snapshots, 3*watchKeepAlive)
		}
	})
}

// stuckWriter is a connection whose client receives nothing: a write fails at its
// deadline.
type stuckWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *stuckWriter) SetWriteDeadline(at time.Time) error {
	w.deadline = at
	return nil
}

func (w *stuckWriter) Write([]byte) (int, error) {
	if w.deadline.IsZero() {
		return 0, errors.New("a write without a deadline")
	}
	<-time.After(time.Until(w.deadline))
	return 0, context.DeadlineExceeded
}

// TestClientThatReceivesNothing: it is given up, and the model's watch with it.
func TestClientThatReceivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{model: silentModel{}, stopping: t.Context(), streams: make(chan struct{}, 1), pageBytes: maxPage}
		w := &stuckWriter{ResponseRecorder: httptest.NewRecorder()}
		begin := time.Now()
		s.serveWatch(w, httptest.NewRequest(http.MethodGet, "/api/v1/breakers:watch", nil))
		if took := time.Since(begin); took != watchWriteTimeout || w.Body.Len() > 0 {
			t.Errorf("given up after %v with %q, want %v and nothing more", took, w.Body, watchWriteTimeout)
		}
	})
}

// TestTooManyWatch: who comes when there is no room is told so at once, by gRPC and by HTTP.
func TestTooManyWatch(t *testing.T) {
	s := &service{model: silentModel{}, stopping: t.Context(), streams: make(chan struct{}, 1), pageBytes: maxPage}
	s.streams <- struct{}{}
	err := s.watch(t.Context(), &adminpb.WatchBreakersRequest{}, func(*adminpb.WatchBreakersResponse) error { return nil }, nil)
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("by gRPC: %v", err)
	}
	w := httptest.NewRecorder()
	s.serveWatch(w, httptest.NewRequest(http.MethodGet, "/api/v1/breakers:watch", nil))
	if w.Code != http.StatusTooManyRequests {
		t.Errorf("by HTTP: status %d, %s", w.Code, w.Body)
	}
	<-s.streams
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.watch(ctx, &adminpb.WatchBreakersRequest{}, func(*adminpb.WatchBreakersResponse) error {
		cancel()
		return errors.New("the client is gone")
	}, nil); status.Code(err) == codes.ResourceExhausted || len(s.streams) > 0 {
		t.Errorf("with room: %v, and %d are left", err, len(s.streams))
	}
}
