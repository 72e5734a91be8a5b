package main

import (
	"errors"
	"os"
)

// trustFiles are where systems keep the authorities they trust, as one PEM file.
var trustFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine, Arch
	"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",             // openSUSE
	"/etc/ssl/cert.pem",                  // macOS, BSD, Alpine
}

// trustBundle is the file that providers' certificates are checked against. The
// variable SSL_CERT_FILE names another, as it does for most programs.
func trustBundle() (string, error) {
	if chosen := os.Getenv("SSL_CERT_FILE"); chosen != "" {
		if _, err := os.Stat(chosen); err != nil { //nolint:gosec // the operator's own word
			return "", errors.New("SSL_CERT_FILE names a file that cannot be read")
		}
		return chosen, nil
	}
	for _, file := range trustFiles {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", errors.New("no bundle of certificate authorities was found: install ca-certificates, or set SSL_CERT_FILE")
}
