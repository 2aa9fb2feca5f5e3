package xds

import (
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/envoy"
)

// The bounds of what a client can make large. They are far above what an Envoy needs, and small enough that many clients
// that use them up do no harm.
const (
	// maxRequestBytes bounds one request. At a reconnect an Envoy lists every resource that it has, about 60 bytes each, and
	// a load report has about 80 bytes for a host: this is enough for some 50,000 of either.
	maxRequestBytes = 4 << 20
	// maxMetadataBytes bounds the metadata of a node; ours has the admin port. maxNodeBytes bounds all of the node: an
	// Envoy lists its extensions in it, which are about 60 KiB.
	maxMetadataBytes = 16 << 10
	maxNodeBytes     = 512 << 10
	// maxResourceName bounds the name of a resource, and maxNames those of one type that a stream asks for or says it has:
	// the endpoints of 5,000 services, many times over.
	maxResourceName = 512
	maxNames        = 20_000
	// maxVersion bounds the version that a node gives in place of numbers.
	maxVersion = 64
	// maxTypes bounds the types that a stream asks for. An Envoy asks for 5.
	maxTypes = 16
	// maxStreams bounds the streams of all proxies together, and maxPeerStreams those from one address. A proxy has two,
	// for configuration and for load reports.
	maxStreams     = 10_000
	maxPeerStreams = 5_000
	// maxConnectionStreams bounds the streams of one connection.
	maxConnectionStreams = 32
	// headText and tailText are how much is kept of the beginning and of the end of what a proxy says of a rejection. The
	// reason stands at the end.
	headText = 1 << 10
	tailText = 3 << 10
)

// checkNode returns a gRPC status if a node is not one that an Envoy of ours can have.
func checkNode(n *corev3.Node) error {
	if n.GetId() == "" {
		return status.Error(codes.InvalidArgument, "the node has no id: use a bootstrap that `breakwater bootstrap` has made")
	}
	for what, name := range map[string]string{"id": n.GetId(), "cluster": n.GetCluster()} {
		if err := envoy.CheckNodeName(what, name); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
	return checkNodeSize(n)
}

// checkNodeSize returns a gRPC status if a node is too large.
func checkNodeSize(n *corev3.Node) error {
	if size := proto.Size(n.GetMetadata()); size > maxMetadataBytes {
		return status.Errorf(codes.InvalidArgument, "the node's metadata has %d bytes, more than %d", size, maxMetadataBytes)
	}
	if size := proto.Size(n); size > maxNodeBytes {
		return status.Errorf(codes.InvalidArgument, "the node has %d bytes, more than %d", size, maxNodeBytes)
	}
	return nil
}

// checkNames returns a gRPC status if there are too many names of resources in a request, or one is too long.
func checkNames(typeURL string, names ...string) error {
	if len(names) > maxNames {
		return tooManyNames(typeURL, len(names))
	}
	for _, name := range names {
		if len(name) > maxResourceName {
			return status.Errorf(codes.InvalidArgument, "the name of a resource of type %s has %d bytes, more than %d", typeName(typeURL), len(name), maxResourceName)
		}
	}
	return nil
}

// checkSubscription returns a gRPC status if a stream has come to ask for too many resources of a type.
func checkSubscription(typeURL string, sub cachev3.Subscription) error {
	if n := len(sub.SubscribedResources()); n > maxNames {
		return tooManyNames(typeURL, n)
	}
	return nil
}

func tooManyNames(typeURL string, n int) error {
	return status.Errorf(codes.ResourceExhausted, "a stream names %d resources of type %s, more than %d", n, typeName(typeURL), maxNames)
}

// shorten leaves out the middle of a long text.
func shorten(text string) string {
	if len(text) <= headText+tailText {
		return text
	}
	head, tail := headText, len(text)-tailText
	for !utf8.RuneStart(text[head]) {
		head--
	}
	for !utf8.RuneStart(text[tail]) {
		tail++
	}
	return text[:head] + " … " + text[tail:]
}
