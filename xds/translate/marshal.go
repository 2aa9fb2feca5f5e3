package translate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// deterministic orders map entries: the same message gives the same bytes each time.
var deterministic = proto.MarshalOptions{Deterministic: true}

// hashBytes is how much of a SHA-256 a version keeps: 128 bits are beyond accident,
// and a version is repeated in every acknowledgement.
const hashBytes = 16

// Marshal gives the deterministic bytes of a message.
func Marshal(m proto.Message) ([]byte, error) {
	return deterministic.Marshal(m)
}

// Hash gives the hash, in hex, of a message's deterministic bytes. A message that
// cannot be marshalled (text that is not UTF-8) hashes as an empty one: Service and
// the other builders return an error for it first.
func Hash(m proto.Message) string {
	b, err := Marshal(m)
	if err != nil {
		b = nil
	}
	return hashOf(b)
}

func hashOf(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		// The length goes first, so that no two lists of parts join to the same bytes.
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil)[:hashBytes])
}

// validated is what protoc-gen-validate generates for each of Envoy's messages.
type validated interface {
	proto.Message
	ValidateAll() error
}

// pack validates a message and wraps it for a typed_config field: validation of the
// message around it does not look into an Any.
func pack(m validated) (*anypb.Any, error) {
	if err := m.ValidateAll(); err != nil {
		return nil, err
	}
	packed := new(anypb.Any)
	if err := anypb.MarshalFrom(packed, m, deterministic); err != nil {
		return nil, err
	}
	return packed, nil
}

func u32(n uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(n) }

func boolValue(b bool) *wrapperspb.BoolValue { return wrapperspb.Bool(b) }
