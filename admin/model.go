package admin

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
)

// ErrUnknownSubsystem is a Model's answer to a level for a logger that it does not
// have. It comes wrapped, with the name.
var ErrUnknownSubsystem = errors.New("unknown subsystem")

// ErrUnsettled is a Model's answer soon after its start, while it is not known yet which
// proxies there are.
var ErrUnsettled = errors.New("too early to say")

// ErrProxyConnected is a Model's answer to forgetting a proxy that is connected. It comes
// wrapped, with what to do.
var ErrProxyConnected = errors.New("the proxy is connected")

// Model is what a Server serves. All methods are called concurrently. Beside the
// errors named below, any other is reported to the client as an internal one.
type Model interface {
	// Breakers yields the services' breakers in ascending order of service, each as it is when
	// it is yielded.
	Breakers(ctx context.Context, q breaker.Query) (iter.Seq[breaker.Breaker], error)
	// Breaker returns one service's breaker, or breaker.ErrUnknownService.
	Breaker(ctx context.Context, service string) (breaker.Breaker, error)
	// Windows returns what is in each proxy's window, in ascending order of proxy, or
	// breaker.ErrUnknownService.
	Windows(ctx context.Context, service string) ([]breaker.ProxyWindow, error)
	// Traffic returns what every proxy has counted of the requests to a service, or
	// breaker.ErrUnknownService. A proxy that can not be asked is an entry of the result, not
	// an error.
	Traffic(ctx context.Context, service string) (breaker.Traffic, error)
	// History returns what the proxies have reported of late. It asks nobody.
	History(ctx context.Context, f breaker.HistoryFilter) (breaker.History, error)
	// Watch sends every breaker in the first element, and in each further one those that
	// changed since, each in ascending order of service. Changes are merged while nobody
	// receives and until q.Every has passed since the last element; they are never dropped. The
	// channel is closed when ctx is done, or when the model ends.
	Watch(ctx context.Context, q breaker.WatchQuery) (<-chan iter.Seq[breaker.Breaker], error)
	// Reset blocks until every proxy has proved the reset or its time is up; a proxy that
	// did not prove it is an entry of the result, not an error. It returns
	// breaker.ErrUnknownService, breaker.ErrUnknownHost, breaker.ErrHostNotResettable or
	// breaker.ErrNoProxy before anything is sent.
	Reset(ctx context.Context, req breaker.ResetRequest) (breaker.ResetResult, error)
	// Order blocks as Reset does, and proves as it does. It returns
	// breaker.ErrUnknownService, breaker.ErrUnknownProxy or breaker.ErrInvalidOrder before
	// anything is kept or sent.
	Order(ctx context.Context, req breaker.OrderRequest) (breaker.OrderResult, error)
	// Orders returns the orders in force, in ascending order of service and proxy.
	Orders(ctx context.Context) ([]breaker.StandingOrder, error)
	// Events returns the events that are kept, from the oldest to the newest.
	Events(ctx context.Context, f breaker.EventFilter) ([]breaker.Event, error)
	// FollowEvents sends what Events returns and then each further event. The channel is
	// closed when ctx is done, or when the model ends.
	FollowEvents(ctx context.Context, f breaker.EventFilter) (<-chan breaker.Event, error)
	// Explain says why requests to a service fail now, or returns
	// breaker.ErrUnknownService. It takes a second or more, for it looks twice.
	Explain(ctx context.Context, service string) (Explanation, error)
	// Proxies returns the connected proxies in ascending order of id.
	Proxies(ctx context.Context) ([]Proxy, error)
	// Disconnected returns the disconnected proxies in ascending order of id; none while that is not known yet.
	Disconnected(ctx context.Context) ([]DisconnectedProxy, error)
	// Forget removes a disconnected proxy from the list, and returns what it was, and why that could not be
	// saved; empty if it was. It returns breaker.ErrUnknownProxy, ErrProxyConnected or ErrUnsettled.
	Forget(ctx context.Context, proxy string, by breaker.Action) (forgotten DisconnectedProxy, unsaved string, err error)
	// Targets returns the proxies that Prometheus is to scrape in ascending order of id: those that are connected, and
	// those that are disconnected and not replaced. It returns ErrUnsettled.
	Targets(ctx context.Context) ([]Target, error)
	// ConfigStatus says what became of the policies on disk.
	ConfigStatus(ctx context.Context) (ConfigStatus, error)
	// Plan says what a candidate would change, and changes nothing. It returns
	// ErrNoPolicies.
	Plan(ctx context.Context, req PlanRequest) (Plan, error)
	// LogLevels returns the whole server's level first, then those of the subsystems in
	// ascending order.
	LogLevels(ctx context.Context) ([]LogLevel, error)
	// SetLogLevel sets the level of one subsystem, or of all if subsystem is empty. It
	// returns ErrUnknownSubsystem. The level is one of hclog.Trace to hclog.Off.
	SetLogLevel(ctx context.Context, level hclog.Level, subsystem string) error
}

// Proxy is one connected Envoy.
type Proxy struct {
	// ID and NodeCluster are from its node; NodeCluster may be empty.
	ID, NodeCluster string
	// Version is its user agent and version, such as "envoy/1.40.0"; empty if it did not say.
	Version string
	// Address is where it connected from, as ip:port.
	Address string
	// AdminAddress is its admin API as ip:port; empty if its bootstrap names no port.
	AdminAddress string
	// ConnectedSince is when its stream was opened.
	ConnectedSince time.Time
	// AdminReachable is true if its admin API answered the last time it was asked.
	AdminReachable bool
	// AdminError says why it is not reachable; empty if it is.
	AdminError string
	// Resources in ascending order of type URL.
	Resources []ProxyResources
	// LastReport is when its last load report came; zero if none has.
	LastReport time.Time
	// Faults says in words what is wrong with it, the gravest first; nil if nothing is.
	Faults []string
}

// DisconnectedProxy is an Envoy that is known and has no stream.
type DisconnectedProxy struct {
	// ID and NodeCluster are from its node; NodeCluster may be empty.
	ID, NodeCluster string
	// AdminAddress is its admin API as ip:port; empty if its bootstrap names no port.
	AdminAddress string
	// Since is when it disconnected.
	Since time.Time
	// Replaced is true if another of its node cluster has replaced it: it is not scraped, and no alert fires for it.
	Replaced bool
}

// Target is a proxy that Prometheus is to scrape.
type Target struct {
	// Proxy is its node id.
	Proxy string
	// AdminAddress is its admin API as ip:port; empty if its bootstrap names no port.
	AdminAddress string
}

// ProxyResources is what a proxy accepted and refused of one type of resource.
type ProxyResources struct {
	TypeURL string
	// Acknowledged is the last version it acknowledged; empty if none.
	Acknowledged string
	// LastNACK is nil if it has refused nothing since it connected.
	LastNACK *NACK
}

// NACK is a proxy's refusal of a response.
type NACK struct {
	// Version that it refused.
	Version string
	// Message is Envoy's own.
	Message string
	Time    time.Time
}

// ConfigStatus is what became of the policies on disk.
type ConfigStatus struct {
	// OK is true if all that is on disk is served and no proxy refuses any of it.
	OK bool
	// Digest is that of the policy.Set that is served; empty if none is.
	Digest string
	// LastSuccess is when what is on disk was last taken over without an error, and
	// LastAttempt when a change was last looked at. Zero: never.
	LastSuccess, LastAttempt time.Time
	// Services is the number of services that are served.
	Services int
	// Problems of the files on disk; the first of them if there are many.
	Problems []Problem
	// MoreProblems is how many there are beside Problems.
	MoreProblems int
	// Rejections in ascending order of service, type and resource.
	Rejections []Rejection
	// StaleServices are served by the last good version of their policy; ascending.
	StaleServices []string
	// StorageFaults in ascending order of document.
	StorageFaults []StorageFault
}

// StorageFault is a document of the state directory that cannot be saved, or was corrupt.
type StorageFault struct {
	// Document is its name.
	Document string
	// Error says why it could not be saved when that was tried last, or what was corrupt.
	Error string
	// Since is when it could not be saved first, or was found to be corrupt.
	Since time.Time
	// Corrupt is true if it was set aside and what could not be read of it is lost.
	Corrupt bool
}

// Problem is one violation or lint finding.
type Problem struct {
	policy.Problem
	// Excerpt is the lines around its position, as they were read; nil if that is not known.
	Excerpt []policy.SourceLine
}

// Rejection is a resource that proxies refuse. They keep what they had.
type Rejection struct {
	// Service whose policy caused it; empty if that can not be told.
	Service string
	TypeURL string
	// Resource's name; empty if it can not be told.
	Resource string
	// Proxies that refuse it, in ascending order of id.
	Proxies []string
	// Message is Envoy's own.
	Message string
	// Partial is true if other proxies accepted it and keep it.
	Partial bool
	// Position of the policy that caused it; zero if that can not be told.
	Position policy.Position
	// Excerpt as in Problem, of the policy that is refused.
	Excerpt []policy.SourceLine
}

// LogLevel is the level of one subsystem.
type LogLevel struct {
	// Subsystem is the logger's name, such as "xds"; empty for the whole server.
	Subsystem string
	Level     hclog.Level
}
