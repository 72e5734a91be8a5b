package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPlacesOfAnError(t *testing.T) {
	for text, places := range map[string][]string{
		"": nil,
		"postern.yaml:3:4: models.m: is empty\npostern.yaml:9:1: x: y":                                            {"postern.yaml"},
		"/p/e/sets/1/doc/providers/a:1:9: providers.a.key: /p/e/secrets/a: cannot be decrypted (X): the identity": {"/p/e/sets/1/doc/providers/a", "/p/e/secrets/a"},
		"/p/e/active: access is denied (X)":                                                                       {"/p/e/active"},
		"something went wrong":                                                                                    {"unknown"},
		"the view x: y: /a b":                                                                                     {"unknown"},
	} {
		assert.Equal(t, places, placesOf(text), text)
	}
}
