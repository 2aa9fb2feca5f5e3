package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/breakwater/breakwater/store"
)

// actionResult is the part of an action's answer that is looked at.
type actionResult struct {
	OK       bool `json:"ok"`
	NotSaved bool `json:"not_saved"`
	// Pushed is of a reset: false if there was nothing to clear.
	Pushed  bool `json:"pushed"`
	Proxies []struct {
		Proxy        string `json:"proxy"`
		Acknowledged bool   `json:"acknowledged"`
		Error        string `json:"error"`
	} `json:"proxies"`
	Message string `json:"message"`
}

// churnOperator acts on breakers, one action after another.
type churnOperator struct {
	c      *churn
	random *rand.Rand
	client *http.Client
	// forced is when the watched service was forced open on all proxies, and disarm ends the rule; zero and nil if it is not.
	forced  time.Time
	disarm  func()
	actions map[string]int
}

func newChurnOperator(c *churn, seed uint64) *churnOperator {
	return &churnOperator{
		c: c, random: rand.New(rand.NewPCG(seed, 2)), actions: map[string]int{},
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// run acts until ctx ends, and then releases what it has ordered.
func (o *churnOperator) run(ctx context.Context) {
	for ctx.Err() == nil {
		switch o.random.IntN(8) {
		case 0, 1, 2:
			o.force()
		case 3:
			o.disable()
		case 4:
			o.reset(watched)
		case 5:
			o.reset(steady[o.random.IntN(len(steady))])
		case 6:
			o.reset("flaky")
		default:
			o.release()
		}
		o.c.pause(ctx, time.Duration(o.random.Int64N(int64(600*time.Millisecond))))
	}
	o.release()
}

// force forces the watched service open: from the answer on no request reaches it.
func (o *churnOperator) force() {
	if o.disarm == nil {
		o.disarm = o.c.rules.because("forced open by an operator", time.Second, of(watched, refusedByBreaker))
	}
	if o.act(watched, "force-open", `"ttl": "60s",`) && o.forced.IsZero() {
		o.forced = time.Now()
	}
}

// unforce is called before something ends the forced state.
func (o *churnOperator) unforce() {
	if o.forced.IsZero() {
		return
	}
	// A request that another proxy had under way is not meant: it began before the answer.
	if leaked := o.c.traffic.reached(o.forced, time.Now()); len(leaked) > 0 {
		o.c.t.Errorf("%d requests reached a service that was forced open since %s, the first: %s", len(leaked), o.forced.UTC().Format("15:04:05.000"), leaked[0])
	}
	o.forced = time.Time{}
}

func (o *churnOperator) ended(done bool) {
	if done && o.disarm != nil {
		o.disarm()
		o.disarm = nil
	}
}

func (o *churnOperator) disable() {
	o.unforce()
	o.ended(o.act(watched, "disable", `"ttl": "60s",`))
}

func (o *churnOperator) release() {
	o.unforce()
	o.ended(o.act(watched, "release", ""))
}

// saved returns an error unless the state directory has what was done to a service last: the file may have room when its
// disk has none.
func (o *churnOperator) saved(service, verb string) error {
	documents, err := store.Dump(filepath.Join("/proc", strconv.Itoa(o.c.inside.Pid()), "root", o.c.stateDir))
	if err != nil {
		return err
	}
	data, err := json.Marshal(documents["orders"])
	if err != nil {
		return err
	}
	var overrides []struct{ Service, State string }
	if err := json.Unmarshal(data, &overrides); err != nil {
		return err
	}
	want, got := map[string]string{"force-open": "forced_open", "disable": "disabled"}[verb], ""
	for _, x := range overrides {
		if x.Service == service {
			got = x.State
		}
	}
	if got != want {
		return fmt.Errorf("saved are %+v", overrides)
	}
	return nil
}

func (o *churnOperator) reset(service string) {
	if service == watched {
		o.unforce()
	}
	done := o.act(service, "reset", "")
	if service == watched {
		o.ended(done)
	}
}

// act does one thing and reports whether every proxy confirmed it, and nothing was done to any of them meanwhile. It fails the
// test if a proxy did not confirm it to which nothing was done.
func (o *churnOperator) act(service, verb, more string) bool {
	o.actions[verb]++
	from := time.Now()
	result, err := o.post("http://"+o.c.http+"/api/v1/breakers/"+service+"/"+verb, `{`+more+`"reason": "churn", "actor": "churn"}`)
	to := time.Now()
	disturbed := func(what string) bool { return o.c.rules.holds(what, from, to) }
	if err != nil {
		if !disturbed(breakwaterAway) {
			o.c.t.Errorf("%s %s: %v", verb, service, err)
		}
		return false
	}
	sent := verb != "reset" || result.Pushed
	for _, p := range result.Proxies {
		if (sent && !p.Acknowledged || p.Error != "") && !disturbed(breakwaterAway) && !disturbed("something was done to "+p.Proxy) {
			o.c.t.Errorf("%s to %s %s %s: a proxy to which nothing was done did not confirm it: %+v", from.UTC().Format("15:04:05.000"), to.UTC().Format("05.000"), verb, service, p)
		}
	}
	if len(result.Proxies) == 0 && !disturbed(breakwaterAway) {
		o.c.t.Errorf("%s %s reached no proxy: %+v", verb, service, result)
	}
	if verb != "reset" && o.c.rules.holds(stateFull, from, from) && o.c.rules.holds(stateFull, to, to) && !result.NotSaved {
		if err := o.saved(service, verb); err != nil {
			o.c.t.Errorf("%s %s while the state directory is full is not marked so: %v", verb, service, err)
		}
	}
	for _, id := range nodeOf {
		result.OK = result.OK && !disturbed("something was done to "+id)
	}
	return result.OK && !disturbed(breakwaterAway)
}

func (o *churnOperator) post(url, body string) (actionResult, error) {
	var result actionResult
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return result, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := o.client.Do(req)
	if err != nil {
		return result, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return result, err
	}
	if resp.StatusCode != http.StatusOK {
		return result, fmt.Errorf("%d: %s", resp.StatusCode, text)
	}
	return result, json.NewDecoder(bytes.NewReader(text)).Decode(&result)
}

// report says what was done.
func (o *churnOperator) report() {
	var out []string
	for verb, n := range o.actions {
		out = append(out, fmt.Sprintf("%s %d", verb, n))
	}
	slices.Sort(out)
	o.c.t.Logf("actions: %s", strings.Join(out, ", "))
}
