package admin

import (
	"context"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/policy"
)

const (
	// MaxPlan bounds a request for a plan, in bytes of its encoding: 1,000 services have well under 1 MiB.
	MaxPlan = 8 << 20
	// maxDocuments bounds the documents of a candidate, and with them its files: each may be a service, which takes
	// far more memory than its text. maxFileName bounds the bytes of a name.
	maxDocuments = 10_000
	maxFileName  = 255
	// planPath is where HTTP has PlanPolicies.
	planPath = "/api/v1/plan"
)

// PlanPolicies has one plan made at a time, for one of many services keeps a processor busy.
func (s *service) PlanPolicies(ctx context.Context, req *adminpb.PlanPoliciesRequest) (*adminpb.PlanPoliciesResponse, error) {
	files, err := candidateFiles(req.GetFiles())
	if err != nil {
		return nil, err
	}
	select {
	case s.planning <- struct{}{}:
		defer func() { <-s.planning }()
	case <-ctx.Done():
		return nil, toStatus(ctx.Err())
	}
	plan, err := s.model.Plan(ctx, PlanRequest{Files: files, Complete: req.GetComplete()})
	if err != nil {
		return nil, toStatus(err)
	}
	return planProto(plan), nil
}

// candidateFiles checks the names of a candidate's files, and how much is in them. Its errors are gRPC statuses.
func candidateFiles(files []*adminpb.PolicyFile) ([]policy.File, error) {
	out := make([]policy.File, 0, len(files))
	seen := make(map[string]bool, len(files))
	documents := 0
	for _, f := range files {
		name := f.GetName()
		switch {
		case !isFileName(name):
			return nil, status.Errorf(codes.InvalidArgument, "%.300q is not the name of a policy file: it is such as fraud.yaml, without a directory", name)
		case seen[name]:
			return nil, status.Errorf(codes.InvalidArgument, "the file %s is given twice", name)
		}
		seen[name] = true
		if documents += 1 + strings.Count(f.GetContent(), "\n---"); documents > maxDocuments {
			return nil, status.Errorf(codes.InvalidArgument, "there are over %d documents, and no more are allowed", maxDocuments)
		}
		out = append(out, policy.File{Name: name, Data: []byte(f.GetContent())})
	}
	return out, nil
}

// isFileName reports whether a policy directory could have a policy file of that name. What is read
// of a directory is the same: no sub-directory, and no hidden or temporary file.
func isFileName(name string) bool {
	return policy.IsFileName(name) && len(name) <= maxFileName && utf8.ValidString(name) &&
		!strings.ContainsAny(name, `/\`) && !strings.ContainsFunc(name, unicode.IsControl)
}

func planProto(p Plan) *adminpb.PlanPoliciesResponse {
	out := &adminpb.PlanPoliciesResponse{
		Ok:           p.OK(),
		Problems:     each(p.Problems, problemProto),
		MoreProblems: uint32(p.MoreProblems),
		Digest:       p.Digest,
	}
	out.Services, out.MoreServices = fit(each(p.Services, servicePlanProto), maxPart)
	out.Resources, out.MoreResources = fit(each(p.Resources, resourcePlanProto), maxPart)
	return out
}

func servicePlanProto(p ServicePlan) *adminpb.ServicePlan {
	return &adminpb.ServicePlan{
		Service:  p.Service,
		Action:   p.Action,
		Settings: each(p.Settings, settingChangeProto),
		Effects:  each(p.Effects, effectProto),
	}
}

func settingChangeProto(c policy.Change) *adminpb.SettingChange {
	return &adminpb.SettingChange{Path: c.Path, From: c.From, To: c.To, Position: positionProto(c.Position)}
}

func effectProto(e Effect) *adminpb.Effect {
	severity := "info"
	if e.Warning {
		severity = "warning"
	}
	out := &adminpb.Effect{Severity: severity, Text: e.Text}
	out.Proxies, out.MoreProxies = fewIDs(e.Proxies)
	return out
}

func resourcePlanProto(r ResourcePlan) *adminpb.ResourcePlan {
	return &adminpb.ResourcePlan{TypeUrl: r.TypeURL, Name: r.Name, Action: r.Action, Diff: r.Diff}
}

// bodyLimit is how large the body of a request may be, in bytes.
func bodyLimit(r *http.Request) int64 {
	if r.URL.Path == planPath {
		return MaxPlan
	}
	return maxRequest
}

// errTooLarge refuses a message that only a plan may be as large as: gRPC has one limit for all calls.
func errTooLarge(method string, m any) error {
	if method == adminpb.AdminService_PlanPolicies_FullMethodName {
		return nil
	}
	if m, ok := m.(proto.Message); ok && proto.Size(m) > maxRequest {
		return status.Errorf(codes.ResourceExhausted, "the request has %d bytes, at most %d are allowed", proto.Size(m), maxRequest)
	}
	return nil
}

func limitUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := errTooLarge(info.FullMethod, req); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func limitStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return next(srv, &limitedStream{stream, info.FullMethod})
}

type limitedStream struct {
	grpc.ServerStream
	method string
}

func (s *limitedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return errTooLarge(s.method, m)
}
