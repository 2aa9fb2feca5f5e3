package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// The types that are served, in the order in which they have to reach a proxy:
// what is referred to comes first.
const (
	typeRuntime  = resourcev3.RuntimeType
	typeEndpoint = resourcev3.EndpointType
	typeCluster  = resourcev3.ClusterType
	typeRoute    = resourcev3.RouteType
	typeListener = resourcev3.ListenerType
)

// typeNames are the short names of the types, for labels, logs and people.
var typeNames = map[string]string{
	typeRuntime:  "runtime",
	typeEndpoint: "endpoint",
	typeCluster:  "cluster",
	typeRoute:    "route",
	typeListener: "listener",
}

func typeName(typeURL string) string {
	if n, ok := typeNames[typeURL]; ok {
		return n
	}
	return "other"
}

func hashBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// hashVersions is a hash over the versions of several resources, by name.
func hashVersions(versions map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		h.Write([]byte(name))
		h.Write([]byte{0})
		h.Write([]byte(versions[name]))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
