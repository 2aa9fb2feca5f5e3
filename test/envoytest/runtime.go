package envoytest

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// MaxProgramSize changes a bootstrap so that Envoy accepts regular expressions with a program of at most n instructions:
// 100 is what an Envoy accepts whose bootstrap does not say.
func MaxProgramSize(n float64) func(*bootstrapv3.Bootstrap) {
	return func(b *bootstrapv3.Bootstrap) {
		for _, layer := range b.GetLayeredRuntime().GetLayers() {
			if static := layer.GetStaticLayer(); static != nil {
				static.Fields["re2.max_program_size.error_level"] = structpb.NewNumberValue(n)
			}
		}
	}
}
