package xds

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"

	"github.com/postern-proxy/postern/config"
)

// secrets are everything that Envoy must know and a configuration dump must not
// show: Envoy redacts what comes by SDS.
func secrets(cfg *config.Config) []types.Resource {
	var all []types.Resource
	if t := cfg.Listen.TLS; t != nil {
		all = append(all, &tls.Secret{Name: listenerTLSSecret, Type: &tls.Secret_TlsCertificate{
			TlsCertificate: &tls.TlsCertificate{
				CertificateChain: inline(t.Certificate.Reveal()),
				PrivateKey:       inline(t.Key.Reveal()),
			},
		}})
	}
	for _, name := range usable(cfg) {
		p := cfg.Providers[name]
		for _, c := range p.Credentials() {
			if c.Secret.Reveal() == "" {
				continue
			}
			all = append(all, &tls.Secret{Name: credentialName(name, p, c.Place), Type: &tls.Secret_GenericSecret{
				GenericSecret: &tls.GenericSecret{Secret: inline(credentialValue(p, c.Secret))},
			}})
		}
	}
	return all
}

// secret is where a filter finds a secret: by ADS, or in the same file where the
// configuration is to stand alone.
func (in Input) secret(name string) *tls.SdsSecretConfig {
	if in.alone {
		return &tls.SdsSecretConfig{Name: name}
	}
	return &tls.SdsSecretConfig{Name: name, SdsConfig: ads()}
}

// inline is a text inside the resource.
func inline(text string) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: text}}
}
