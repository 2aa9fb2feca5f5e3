package translate

import (
	"slices"
	"strconv"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
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

// retry is nil if nothing is retried.
func retry(s *policy.Service, on string, statuses []uint32) (*routev3.RetryPolicy, error) {
	if s.Retry.MaxRetries == 0 {
		// The timeout of one attempt is a retry policy's, but needs no retry.
		if !s.Timeout.PerTry.Set {
			return nil, nil
		}
		return &routev3.RetryPolicy{
			NumRetries:    u32(0),
			PerTryTimeout: durationpb.New(s.Timeout.PerTry.D),
		}, nil
	}
	previous, err := pack(&previoushostsv3.PreviousHostsPredicate{})
	if err != nil {
		return nil, err
	}
	base := max(s.Retry.BaseDelay, time.Millisecond) // Envoy's least
	p := &routev3.RetryPolicy{
		RetryOn:              on,
		NumRetries:           u32(s.Retry.MaxRetries),
		RetriableStatusCodes: statuses,
		RetryBackOff: &routev3.RetryPolicy_RetryBackOff{
			BaseInterval: durationpb.New(base),
			MaxInterval:  durationpb.New(max(s.Retry.MaxDelay, base)),
		},
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: previous},
		}},
		HostSelectionRetryMaxAttempts: otherHostAttempts,
	}
	if s.Timeout.PerTry.Set {
		p.PerTryTimeout = durationpb.New(s.Timeout.PerTry.D)
	}
	return p, nil
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
