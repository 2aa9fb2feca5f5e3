package translate

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/breakwater/breakwater/policy"
)

// systemCAFile is the bundle of Debian, Ubuntu, Alpine and of Envoy's own images.
const systemCAFile = "/etc/ssl/certs/ca-certificates.crt"

// transportSocket is nil for a service in clear text.
func transportSocket(s *policy.Service) (*corev3.TransportSocket, error) {
	if !s.Upstream.Scheme.TLS() {
		return nil, nil
	}
	t := s.Upstream.TLS
	if t == nil {
		t = &policy.TLS{}
	}
	ca := t.CAFile
	if ca == "" {
		ca = systemCAFile
	}
	common := &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2},
		// Envoy does not derive it from the protocol that it will speak.
		AlpnProtocols: []string{alpn(s.Upstream.Scheme)},
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{
				TrustedCa:                 file(ca),
				MatchTypedSubjectAltNames: subjectAltNames(s.Upstream.Hosts, t.ServerName),
			},
		},
	}
	if t.CertFile != "" {
		common.TlsCertificates = []*tlsv3.TlsCertificate{{
			CertificateChain: file(t.CertFile),
			PrivateKey:       file(t.KeyFile),
		}}
	}
	upstream := &tlsv3.UpstreamTlsContext{CommonTlsContext: common}
	if !isIP(t.ServerName) { // RFC 6066, section 3: an address is no server name
		upstream.Sni = t.ServerName
	}
	config, err := pack(upstream)
	if err != nil {
		return nil, err
	}
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: config},
	}, nil
}

// subjectAltNames are the names of which the certificate must have one. Without them
// Envoy would accept any certificate of any host that the CA has signed.
func subjectAltNames(hosts []policy.Host, serverName string) []*tlsv3.SubjectAltNameMatcher {
	names := []string{serverName}
	if serverName == "" {
		names = names[:0]
		for _, h := range hosts {
			names = append(names, h.Name)
		}
	}
	matchers := make([]*tlsv3.SubjectAltNameMatcher, 0, len(names))
	for _, name := range names {
		kind := tlsv3.SubjectAltNameMatcher_DNS
		if isIP(name) {
			kind = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
		}
		matchers = append(matchers, &tlsv3.SubjectAltNameMatcher{
			SanType: kind,
			// Of a DNS name Envoy takes an exact match to include the certificate's wildcards.
			Matcher: exact(name),
		})
	}
	return matchers
}

func alpn(s policy.Scheme) string {
	if s.HTTP2() {
		return "h2"
	}
	return "http/1.1"
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func file(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

func exact(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}
