package breaker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOverview(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	drill, repair := &Order{Action: Action{Actor: "ann"}}, &Order{Action: Action{Actor: "bob"}}
	for _, tt := range []struct {
		name    string
		proxies []ProxyBreaker
		want    Overview
	}{
		{"no proxy", nil, Overview{}},
		{
			"the gravest, and of these the first",
			[]ProxyBreaker{
				{Proxy: "a", State: Closed, Since: at(1), Cause: "1 of 3 hosts ejected", EjectedHosts: 1, TotalHosts: 3, Attempts: 10, Failures: 1},
				{Proxy: "b", State: Open, Since: at(9), Until: at(60), Cause: "late", EjectedHosts: 3, TotalHosts: 3, Attempts: 20, Failures: 5},
				{
					Proxy: "c", State: Open, Since: at(5), Until: at(50), Cause: "early", EjectedHosts: 2, TotalHosts: 4, Attempts: 30, Failures: 6,
					Overloaded: true, RecentAttempts: 9, RecentErrors: 4,
				},
				{Proxy: "d", State: Open, Since: at(5), Cause: "as early"},
			},
			Overview{
				Cause: "early", Since: at(5), Until: at(50), Proxies: 4, InState: 3, EjectedHosts: 3, TotalHosts: 3,
				Attempts: 60, Failures: 12, Overloaded: true, RecentAttempts: 9, RecentErrors: 4,
			},
		},
		{
			"nothing ejected: as many hosts as any proxy sees",
			[]ProxyBreaker{
				{Proxy: "a", State: Closed, Since: at(2)}, {Proxy: "b", State: Closed, Since: at(3), TotalHosts: 4},
			},
			Overview{Since: at(2), Proxies: 2, InState: 2, TotalHosts: 4},
		},
		{
			"shadows",
			[]ProxyBreaker{
				{Proxy: "a", State: Closed, Since: at(1), Shadow: true, ShadowState: HalfOpen},
				{Proxy: "b", State: Closed, Since: at(1), Shadow: true, ShadowState: Open},
				{Proxy: "c", State: Closed, Since: at(1), Shadow: true, ShadowState: Closed},
			},
			Overview{Since: at(1), Proxies: 3, InState: 3, Shadow: true, ShadowState: Open},
		},
		{
			"the gravest proxy's order",
			[]ProxyBreaker{
				{Proxy: "a", State: Disabled, Since: at(1), Order: repair}, {Proxy: "b", State: ForcedOpen, Since: at(2), Until: at(9), Order: drill},
			},
			Overview{Since: at(2), Until: at(9), Proxies: 2, InState: 1, Order: drill, Ordered: ForcedOpen},
		},
		{
			"an order in a proxy that is not the gravest",
			[]ProxyBreaker{
				{Proxy: "a", State: Disabled, Since: at(1), Order: repair},
				{Proxy: "b", State: ForcedOpen, Since: at(1), Order: drill},
				{Proxy: "c", State: Open, Since: at(2), Cause: "5 of 5"},
			},
			Overview{Cause: "5 of 5", Since: at(2), Proxies: 3, InState: 1, Order: repair, Ordered: Disabled},
		},
		{
			"one half-open breaker of two waits for traffic",
			[]ProxyBreaker{
				{Proxy: "a", State: HalfOpen, Since: at(1), Waiting: true}, {Proxy: "b", State: HalfOpen, Since: at(2), Successes: 1},
			},
			Overview{Since: at(1), Proxies: 2, InState: 2},
		},
		{
			"all that are half-open wait for traffic",
			[]ProxyBreaker{
				{Proxy: "a", State: HalfOpen, Since: at(1), Waiting: true}, {Proxy: "b", State: HalfOpen, Since: at(2), Waiting: true}, {Proxy: "c", State: Closed},
			},
			Overview{Since: at(1), Proxies: 3, InState: 2, Waiting: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, NewBreaker("svc", tt.proxies).Overview); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
