package admin

import (
	"context"
	"net/http"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// maxWaiting bounds the requests for plans that are there at one time, in bytes: they wait for one another, and each takes
// several times its size.
const maxWaiting = 2 * MaxPlan

// planRoom is the room for requests for plans.
type planRoom struct {
	mu    sync.Mutex
	taken int64 // guarded by mu
}

// take takes size bytes of the room until free is called, or returns a gRPC status that there are too few.
func (r *planRoom) take(size int64) (free func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken+size > maxWaiting {
		return nil, status.Error(codes.ResourceExhausted, "too many large plans are asked for at once: try again")
	}
	r.taken += size
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taken -= size
	}, nil
}

// unary bounds what comes by gRPC, which has read a request by then.
func (r *planRoom) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	m, ok := req.(proto.Message)
	if !ok || info.FullMethod != adminpb.AdminService_PlanPolicies_FullMethodName {
		return next(ctx, req)
	}
	free, err := r.take(int64(proto.Size(m)))
	if err != nil {
		return nil, err
	}
	defer free()
	return next(ctx, req)
}

// http bounds what comes by HTTP, before the body is read.
func (r *planRoom) http(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		size := int64(MaxPlan)
		if req.ContentLength >= 0 {
			size = min(size, req.ContentLength)
		}
		free, err := r.take(size)
		if err != nil {
			writeError(w, err)
			return
		}
		defer free()
		next.ServeHTTP(w, req)
	})
}
