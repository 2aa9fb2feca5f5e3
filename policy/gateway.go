package policy

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
)

// gatewayFile is what a Set keeps of gateway.yaml.
type gatewayFile struct {
	gateway *Gateway
	// doc is gateway.yaml as it is in force; nil if there is none.
	doc *specialFile
	// variables are those that its values show.
	variables variables
}

// environmentAddress reads GATEWAY_HOST and GATEWAY_PORT over the built-in address.
func environmentAddress(env environment, a *address, origins map[string]Origin) []Problem {
	var problems []Problem
	origins["address.host"] = Origin{Layer: LayerBuiltIn}
	origins["address.port"] = Origin{Layer: LayerBuiltIn}
	if host, _ := env.lookup("GATEWAY_HOST"); host != "" {
		if normal, err := listenHost(host); err != nil {
			problems = append(problems, environmentProblem("GATEWAY_HOST", err))
		} else {
			a.Host = normal
			origins["address.host"] = Origin{Layer: LayerEnvironment, Variable: "GATEWAY_HOST"}
		}
	}
	if port, _ := env.lookup("GATEWAY_PORT"); port != "" {
		if number, err := parsePort(port); err != nil {
			problems = append(problems, environmentProblem("GATEWAY_PORT", err))
		} else {
			a.Port = number
			origins["address.port"] = Origin{Layer: LayerEnvironment, Variable: "GATEWAY_PORT"}
		}
	}
	return problems
}

// listenHost checks an address to listen on. Envoy takes no host names there.
func listenHost(host string) (string, error) {
	host = strings.ToLower(host)
	if host == "localhost" {
		return "127.0.0.1", nil
	}
	if !isIP(host) {
		return "", misfitf("%s is not an IP address to listen on; 0.0.0.0 is every address", quotedPart(host))
	}
	return host, nil
}

// buildGateway reads gateway.yaml. file is nil if there is none.
func buildGateway(file *specialFile, env environment, prev *gatewayFile) (*gatewayFile, []Problem) {
	var doc gatewayDocument
	v := reflect.ValueOf(&doc).Elem()
	gatewayPlan.setDefaults(v)
	g := &Gateway{Origins: map[string]Origin{}}
	problems := environmentAddress(env, &doc.Address, g.Origins)
	if file != nil {
		found := file.found
		if file.root != nil {
			if prev != nil && prev.doc != nil && bytes.Equal(file.data, prev.doc.data) {
				env.refuse = nil // what is in force may be asked for again
			}
			d := newDecoder(file.name, file.line, file.text, LayerService, env)
			d.found = found
			d.section(gatewayPlan, v, file.root, "")
			d.gateway(&doc)
			found = d.found
			g.Position = d.at(file.root)
			g.source = source{file: file.name, line: file.line, text: file.text}
		}
		if found.n > 0 {
			problems = append(problems, found.listed...)
			if prev != nil && prev.doc != nil {
				stale := *prev.gateway
				stale.Stale = true
				return &gatewayFile{gateway: &stale, doc: prev.doc, variables: prev.variables}, problems
			}
			// No last good version: the built-in values and the environment's.
			kept, _ := buildGateway(nil, env, nil)
			kept.gateway.Stale = true
			return kept, problems
		}
	}
	g.Host, g.Port = doc.Address.Host, doc.Address.Port
	if host, err := listenHost(g.Host); err == nil {
		g.Host = host
	}
	g.ExposeAdmin = doc.ExposeAdmin.String()
	if doc.AccessLog.V != off {
		g.AccessLog = doc.AccessLog.V
	}
	if t := &doc.Tracing; t.Gate.State == gateOn {
		g.Tracing = &Tracing{Collector: t.Collector.String(), Sampling: t.Sampling.V, ServiceName: t.ServiceName.V}
	}
	g.MaxHeadersKB, g.MaxHeaders = doc.Headers.MaxSizeKB.V, doc.Headers.MaxCount.V
	shown := variables{}
	gatewayPlan.each(v, func(f *field, l leaf) {
		shown.add(f.path, l)
		origin := l.base().Origin
		switch {
		case f.path != "address":
			if origin.Layer == "" {
				origin.Layer = LayerBuiltIn
			}
			g.Origins[f.path] = origin
		case origin.Layer == LayerService:
			g.Origins["address.host"], g.Origins["address.port"] = origin, origin
		}
	})
	return &gatewayFile{gateway: g, doc: file, variables: shown}, problems
}

// gateway checks what the fields of gateway.yaml alone do not show.
func (d *decoder) gateway(doc *gatewayDocument) {
	fail := func(m *meta, path string, err error) { d.report(m.Origin.Position, path, "%s", about(err, m.written)) }
	if a := &doc.Address; a.byUser() {
		if _, err := listenHost(a.Host); err != nil {
			fail(&a.meta, "address", err)
		}
	}
	if l := &doc.AccessLog; l.byUser() && l.V != "stdout" && l.V != "stderr" && l.V != off && (!strings.HasPrefix(l.V, "/") || hasControl(l.V)) {
		fail(&l.meta, "access_log", misfitf("must be stdout, stderr, off or a path that begins with /, not %s", quotedPart(l.V)))
	}
	if n := &doc.Tracing.ServiceName; n.byUser() && hasControl(n.V) {
		fail(&n.meta, "tracing.service_name", errors.New("has control characters"))
	}
}

// Address gives host:port, as net.Listen takes it.
func (g *Gateway) Address() string { return net.JoinHostPort(g.Host, fmt.Sprint(g.Port)) }

// digest hashes the effective values.
func (g *Gateway) digest() string {
	values := *g
	values.Position, values.Origins, values.Stale = Position{}, nil, false
	return digest(values)
}
