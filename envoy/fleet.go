package envoy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
)

// ControlPlane is where an Envoy of a fleet gets its configuration, and how both
// prove who they are: mutual TLS 1.3.
type ControlPlane struct {
	Address string // host:port; a name is resolved, and all its addresses are used
	Name    string // in its certificate; "" is the host of Address

	// PEM files on the Envoy's host: its own certificate and key, and the
	// authorities that signed the control plane's. Absolute paths.
	Certificate, Key, Authorities string

	// Secrets is a folder on the Envoy's host with the files that SecretFiles
	// writes; then Envoy reads the PEM files again when they are replaced (moved
	// into their place). Without it, it reads them once, at its start.
	Secrets string
}

// The files of SecretFiles, and the names of the secrets in them.
const (
	identityFile    = "identity.json"
	authoritiesFile = "authorities.json"
	identitySecret  = "fleet/identity"
	authoritySecret = "fleet/authorities"
)

// SecretFiles are the files that the folder Secrets needs, by name. They hold paths
// and nothing secret.
func (c ControlPlane) SecretFiles() (map[string][]byte, error) {
	const kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	identity, err := json.MarshalIndent(object{"resources": list{object{
		"@type": kind, "name": identitySecret,
		"tls_certificate": object{
			"certificate_chain": object{"filename": c.Certificate},
			"private_key":       object{"filename": c.Key},
			"watched_directory": object{"path": filepath.Dir(c.Certificate)},
		},
	}}}, "", "  ")
	if err != nil {
		return nil, err
	}
	authorities, err := json.MarshalIndent(object{"resources": list{object{
		"@type": kind, "name": authoritySecret,
		"validation_context": object{
			"trusted_ca":                    object{"filename": c.Authorities},
			"watched_directory":             object{"path": filepath.Dir(c.Authorities)},
			"match_typed_subject_alt_names": list{c.subject()},
		},
	}}}, "", "  ")
	if err != nil {
		return nil, err
	}
	return map[string][]byte{identityFile: identity, authoritiesFile: authorities}, nil
}

func (c ControlPlane) check() error {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" {
		return fmt.Errorf("envoy.Bootstrap: the control plane's address %q is not host:port", c.Address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("envoy.Bootstrap: the control plane's address %q has no port from 1 to 65535", c.Address)
	}
	for what, path := range map[string]string{"certificate": c.Certificate, "key": c.Key, "authorities": c.Authorities} {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("envoy.Bootstrap: the path of the %s, %q, is not absolute", what, path)
		}
	}
	if c.Secrets != "" && !filepath.IsAbs(c.Secrets) {
		return errors.New("envoy.Bootstrap: the path of the secrets' folder is not absolute")
	}
	return nil
}

func (c ControlPlane) split() (host string, port int) {
	host, text, _ := net.SplitHostPort(c.Address) // checked
	port, _ = strconv.Atoi(text)
	return host, port
}

func (c ControlPlane) name() string {
	if c.Name != "" {
		return c.Name
	}
	host, _ := c.split()
	return host
}

// subject is who the control plane must be.
func (c ControlPlane) subject() object {
	kind := "DNS"
	if _, err := netip.ParseAddr(c.name()); err == nil {
		kind = "IP_ADDRESS"
	}
	return object{"san_type": kind, "matcher": object{"exact": c.name()}}
}

// cluster is the control plane as Envoy sees it.
func (c ControlPlane) cluster() object {
	host, port := c.split()
	cluster := xdsCluster(object{"socket_address": object{"address": host, "port_value": port}})
	if _, err := netip.ParseAddr(host); err != nil {
		cluster["type"] = "STRICT_DNS"
	}
	cluster["connect_timeout"] = "5s"
	// A host that vanished without a word is found by TCP where pings are not due.
	cluster["upstream_connection_options"] = object{"tcp_keepalive": object{"keepalive_time": 30, "keepalive_interval": 10}}
	cluster["transport_socket"] = object{"name": "envoy.transport_sockets.tls", "typed_config": c.tls()}
	return cluster
}

func (c ControlPlane) tls() object {
	common := object{
		"tls_params":     object{"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
		"alpn_protocols": list{"h2"},
	}
	if c.Secrets == "" {
		common["tls_certificates"] = list{object{
			"certificate_chain": object{"filename": c.Certificate}, "private_key": object{"filename": c.Key},
		}}
		common["validation_context"] = object{
			"trusted_ca":                    object{"filename": c.Authorities},
			"match_typed_subject_alt_names": list{c.subject()},
		}
	} else {
		common["tls_certificate_sds_secret_configs"] = list{c.secret(identitySecret, identityFile)}
		common["validation_context_sds_secret_config"] = c.secret(authoritySecret, authoritiesFile)
	}
	context := object{
		"@type":              "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
		"common_tls_context": common,
	}
	if _, err := netip.ParseAddr(c.name()); err != nil {
		context["sni"] = c.name() // SNI holds names only (RFC 6066)
	}
	return context
}

func (c ControlPlane) secret(name, file string) object {
	return object{"name": name, "sds_config": object{
		"path_config_source":   object{"path": filepath.Join(c.Secrets, file)},
		"resource_api_version": "V3",
	}}
}
