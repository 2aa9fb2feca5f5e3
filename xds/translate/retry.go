package translate

import (
	"slices"
	"strconv"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/policy"
)

const (
	// neverReached are the conditions under which a request provably did not reach the
	// service, so that trying again cannot do a thing twice.
	neverReached = "connect-failure,refused-stream,reset-before-request"
	// otherHostAttempts is how often a host that has failed this request is passed over
	// before it is taken all the same: a service may have no other.
	otherHostAttempts = 5
)

// methodSet is a set of methods: none if any is false, all if methods is empty.
type methodSet struct {
	any     bool
	methods []string
}

// splitMethods divides the methods of a route into those that are retried on every
// condition of the policy and the others. The others' route has no condition on the
// method if the route has none: it stands behind the first.
func splitMethods(r policy.Retry, methods []string) (retried, others methodSet) {
	if r.MaxRetries == 0 { // no difference between the two
		return methodSet{}, methodSet{any: true, methods: methods}
	}
	if len(methods) == 0 {
		return methodSet{any: len(r.Methods) > 0, methods: r.Methods}, methodSet{any: true}
	}
	for _, m := range methods {
		if slices.Contains(r.Methods, m) {
			retried = methodSet{any: true, methods: append(retried.methods, m)}
		} else {
			others = methodSet{any: true, methods: append(others.methods, m)}
		}
	}
	return retried, others
}

// fullRetry is the policy's retry for the methods that may be repeated.
func fullRetry(s *policy.Service) (*routev3.RetryPolicy, error) {
	conditions, statuses := retryConditions(s.Retry.On)
	return retry(s, conditions, statuses)
}

// safeRetry is for all other methods.
func safeRetry(s *policy.Service) (*routev3.RetryPolicy, error) {
	return retry(s, neverReached, nil)
}

// retry is never nil: without a policy of its own a route would take the virtual host's.
func retry(s *policy.Service, on string, statuses []uint32) (*routev3.RetryPolicy, error) {
	p := noRetry(s)
	if s.Retry.MaxRetries == 0 {
		return p, nil
	}
	previous, err := pack(&previoushostsv3.PreviousHostsPredicate{})
	if err != nil {
		return nil, err
	}
	base := max(s.Retry.BaseDelay, time.Millisecond) // Envoy's least
	p.RetryOn = on
	p.NumRetries = u32(s.Retry.MaxRetries)
	p.RetriableStatusCodes = statuses
	p.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{
		BaseInterval: durationpb.New(base),
		MaxInterval:  durationpb.New(max(s.Retry.MaxDelay, base)),
	}
	p.RetryHostPredicate = []*routev3.RetryPolicy_RetryHostPredicate{{
		// Envoy finds the extension by the type of its message.
		Name:       "previous_hosts",
		ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: previous},
	}}
	p.HostSelectionRetryMaxAttempts = otherHostAttempts
	return p, nil
}

// noRetry is a policy that tries nothing again. It is not nil for the same reason.
func noRetry(s *policy.Service) *routev3.RetryPolicy {
	p := &routev3.RetryPolicy{}
	if s.Timeout.PerTry.Set { // which needs no retry
		p.PerTryTimeout = durationpb.New(s.Timeout.PerTry.D)
	}
	return p
}

// withoutRetry gives the hash of a route's retry policy and the route without it,
// which shares all the rest.
func withoutRetry(r *routev3.Route) (string, *routev3.Route) {
	a := r.GetRoute()
	if a == nil {
		return "", nil
	}
	action := shallowCopy(a)
	action.RetryPolicy = nil
	bare := shallowCopy(r)
	bare.Action = &routev3.Route_Route{Route: action}
	return Hash(a.GetRetryPolicy()), bare
}

// shallowCopy gives a new message with the same fields: what they point to is shared.
func shallowCopy[M proto.Message](m M) M {
	from := m.ProtoReflect()
	to := from.New()
	from.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(f, v)
		return true
	})
	return to.Interface().(M)
}

// commonRetry is the retry policy that most of the routes have, and its hash; nil if
// no two have the same. A policy is most of a route's bytes, and of the time that Envoy
// takes to load it. One that retries nothing is next to none, however many have it: if it
// counted, the edit of one service could turn all the others' routes about.
func commonRetry(routes []Route) (string, *routev3.RetryPolicy) {
	count := map[string]int{}
	var common *Route
	for i := range routes {
		r := &routes[i]
		if r.bare == nil || r.Route.GetRoute().GetRetryPolicy().GetNumRetries() == nil {
			continue
		}
		count[r.retry]++
		n := count[r.retry]
		// Of two that are as frequent the lower hash, so that the order of routes does
		// not matter.
		if n > 1 && (common == nil || n > count[common.retry] || n == count[common.retry] && r.retry < common.retry) {
			common = r
		}
	}
	if common == nil {
		return "", nil
	}
	return common.retry, common.Route.GetRoute().GetRetryPolicy()
}

// retryConditions divides retry.on into Envoy's conditions and status codes, which
// Envoy takes apart.
func retryConditions(on []string) (string, []uint32) {
	const byStatus = "retriable-status-codes"
	var conditions []string
	var statuses []uint32
	for _, c := range on {
		if n, err := strconv.ParseUint(c, 10, 32); err == nil {
			statuses = append(statuses, uint32(n))
		} else {
			conditions = append(conditions, c)
		}
	}
	if len(statuses) > 0 && !slices.Contains(conditions, byStatus) {
		conditions = append(conditions, byStatus)
	}
	return strings.Join(conditions, ","), statuses
}
