package config

import (
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// validator holds a decoded document to the rules that types cannot say, and fills
// in the defaults. It says nothing of what decoding found broken.
type validator struct {
	*decoder
	config *Config
}

// The limits of listen.body_limit; the default too.
const (
	minBody     = KiB
	maxBody     = 64 * MiB
	defaultBody = 20 * MiB

	defaultMemory = 512 * MiB
)

const defaultAddress = "127.0.0.1:8080"

// nameForm is what providers and tiers may be called: it is safe in headers,
// metrics and the names of Envoy's resources.
var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)

func (v *validator) validate() {
	v.listen()
	v.providers()
	v.models()
	v.tiers()
	v.views()
	v.connects()
	v.health()
	v.dns()
	if at := path("default_provider"); v.given(at) && !v.broken(at) {
		if v.exists(at, v.config.DefaultProvider) {
			if why := v.config.Providers[v.config.DefaultProvider].mayPass(); why != "" {
				v.problemf(at, "%s", why)
			}
		}
	}
	for name, m := range v.config.Models {
		if len(v.problems) == 0 && !v.env.Elsewhere && len(m.UsableRoute(v.config.Providers)) == 0 {
			v.warnf(path("models").key(name), "the model is left out, because none of its providers is usable")
		}
	}
}

// name holds a provider's or a tier's name to nameForm.
func (v *validator) name(at path, name string) {
	if !nameForm.MatchString(name) {
		v.problemf(at, "a name has up to 63 of a-z, 0-9, '_', '.' and '-', and starts with a letter or digit")
	}
}

// exists holds a reference to a provider to one that is there.
func (v *validator) exists(at path, name string) bool {
	if _, ok := v.config.Providers[name]; ok {
		return true
	}
	known := slices.Sorted(maps.Keys(v.config.Providers))
	if !v.unread["providers"] {
		v.problemf(at, "there is no provider %s%s", v.quote(at), closest(v.marks[string(at)].text, known))
	}
	return false
}

// memory has room for at least one body, with its copies.
func (v *validator) memory() {
	least := 5 * v.config.Listen.BodyLimit
	if !v.given("extproc.memory") {
		v.config.Extproc.Memory = max(defaultMemory, least)
	}
	if at := path("extproc.memory"); !v.broken(at) && v.config.Extproc.Memory < least {
		v.problemf(at, "must be at least five times listen.body_limit (%s): one body and its copies", least)
	}
}

func (v *validator) listen() {
	if v.config.Listen.Address == "" && !v.given("listen.address") {
		v.config.Listen.Address = defaultAddress
	}
	if at := path("listen.address"); !v.broken(at) {
		address, err := normalAddress(v.config.Listen.Address)
		if err != nil {
			v.problemf(at, "%s", err)
		}
		v.config.Listen.Address = address
	}
	if !v.given("listen.body_limit") {
		v.config.Listen.BodyLimit = defaultBody
	}
	if at := path("listen.body_limit"); !v.broken(at) && (v.config.Listen.BodyLimit < minBody || v.config.Listen.BodyLimit > maxBody) {
		v.problemf(at, "must be from %s to %s", minBody, maxBody)
	}
	v.memory()
	if v.config.Listen.TLS != nil {
		v.tls("listen.tls")
	}
	if v.config.Listen.CORS != nil && !v.unread["listen.cors.origins"] && v.given("listen.cors.origins") {
		v.origins("listen.cors.origins")
	}
}

// normalAddress is a listen address as Envoy takes it: an IP address and a port.
func normalAddress(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", errors.New("must be an address and a port, such as 127.0.0.1:8080")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", errors.New("must have a port from 1 to 65535")
	}
	switch host {
	case "":
		host = "0.0.0.0"
	case "localhost":
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err != nil || ip.Zone() != "" {
		return "", errors.New("must begin with an IP address, such as 127.0.0.1 or 0.0.0.0, or with localhost")
	}
	return net.JoinHostPort(host, strconv.FormatUint(number, 10)), nil
}

// tls demands both halves and that they belong together: Envoy would refuse a
// certificate that does not, and keep the door shut.
func (v *validator) tls(at path) {
	whole := true
	for key, secret := range map[string]Secret{"certificate": v.config.Listen.TLS.Certificate, "key": v.config.Listen.TLS.Key} {
		at := at.key(key)
		switch {
		case v.broken(at):
			whole = false
		case secret.Missing() && !secret.here() && v.env.Parameter == nil:
			whole = false
			v.warnf(at, "is not judged, because %s", v.whyMissing(at, secret))
		case secret.Missing():
			whole = false
			v.problemf(at, "TLS needs it, and %s", v.whyMissing(at, secret))
			if secret.here() {
				v.excuse(at)
			}
		}
	}
	if !whole {
		return
	}
	// The library's own words are left out: they may tell of the key.
	if _, err := tls.X509KeyPair([]byte(v.config.Listen.TLS.Certificate.Reveal()), []byte(v.config.Listen.TLS.Key.Reveal())); err != nil {
		v.problemf(at, "the certificate and the key must be PEM, unencrypted, and belong together")
		if v.config.Listen.TLS.Certificate.here() || v.config.Listen.TLS.Key.here() {
			v.excuse(at)
			v.foreignTLS = true
		}
	}
}

// whyMissing is the end of a sentence about a secret without a value.
func (v *validator) whyMissing(at path, s Secret) string {
	if why := v.unreadable[at]; why != "" {
		return why
	}
	name := wholeVariable.ReplaceAllString(s.Ref(), "$1")
	return name + " is not set in the environment"
}

var originForm = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?$`)

func (v *validator) origins(at path) {
	origins := v.config.Listen.CORS.Origins
	if len(origins) == 0 {
		v.problemf(at, "needs at least one origin")
	}
	for i, origin := range origins {
		at := at.at(i)
		lower := strings.ToLower(origin)
		origins[i] = lower
		switch {
		case v.broken(at):
		case origin == "*" && len(origins) > 1:
			v.problemf(at, "* allows every origin: it must stand alone")
		case origin == "*":
		case !originForm.MatchString(lower):
			v.problemf(at, "must be an origin such as https://app.example.com, without a path, or a lone *")
		case slices.Contains(origins[:i], lower):
			v.problemf(at, "stands here twice")
		case defaultPort(lower):
			v.problemf(at, "browsers leave out the port that belongs to the scheme: leave it out too")
		}
	}
}

func defaultPort(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80")
}

func (v *validator) tiers() {
	for name := range v.config.Tiers {
		if at := path("tiers").key(name); !v.unread[at] {
			v.name(at, name)
		}
	}
	if v.config.Tiers == nil {
		v.config.Tiers = map[string]*Tier{}
	}
	if v.config.Tiers[DefaultTier] == nil {
		v.config.Tiers[DefaultTier] = &Tier{}
	}
}
