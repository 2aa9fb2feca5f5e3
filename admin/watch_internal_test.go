package admin

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

// silentModel sends an empty snapshot and then nothing.
type silentModel struct{ Model }

func (silentModel) Watch(context.Context) (<-chan []breaker.Breaker, error) {
	changes := make(chan []breaker.Breaker, 1)
	changes <- nil
	return changes, nil
}

func TestIdleWatchIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{model: silentModel{}, stopping: t.Context()}
		begin := time.Now()
		gone := errors.New("the client is gone")
		snapshots, alive := 0, 0
		err := s.watch(t.Context(), nil, func(m *adminpb.WatchBreakersResponse) error {
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
