# `make` alone says what there is. Everything a target needs is installed by it:
# pinned, checked against hashes, into .tools/ (ignored by git).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TOOLS := $(CURDIR)/.tools
GOLANGCI_VERSION := v2.15.0
ENVOY_FILE := $(TOOLS)/envoy/envoy-1.40.0
# The native reader of answers; Go makes the same name (xds/reader).
READER_SOURCE := xds/reader/native/envoy.h xds/reader/native/log.c xds/reader/native/usage.c
READER_CHECK := xds/reader/native/check.yaml
READER_HASH := $(shell cat $(READER_SOURCE) | (sha256sum 2>/dev/null || shasum -a 256) | cut -c 1-12)
READER_FILE := $(TOOLS)/envoy/postern-1.40.0-$(READER_HASH).so
READER_FLAGS := -std=c11 -O2 -shared -fPIC -fvisibility=hidden -fstack-protector-strong -pthread -Wall -Wextra
PYTHON := $(TOOLS)/python/bin/python
CONFIG ?= postern.yaml
DATA ?= .postern

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: setup ## Start the gate: prints an address, a key and a line to paste
	@bin/postern run --config $(CONFIG) --data $(DATA)

.PHONY: build
build: | need-go ## Build bin/postern
	@go build -o bin/postern ./cmd/postern

.PHONY: setup
setup: build ## Build, and fetch the pinned Envoy
	@bin/postern envoy fetch --into $(TOOLS)/envoy >/dev/null
	@$(MAKE) --no-print-directory $(READER_FILE)

# Where there is no C compiler, or Envoy does not take what it made, a script in Envoy does
# the same and costs more.
$(READER_FILE):
	@if command -v cc >/dev/null && cc $(READER_FLAGS) -o $@.new $(filter %.c,$(READER_SOURCE)) \
		&& $(ENVOY_FILE) --mode validate --log-level error --config-yaml "$$(sed 's|MODULE|$@.new|' $(READER_CHECK))" >/dev/null; \
	then mv $@.new $@; \
	else rm -f $@.new; echo "no C compiler (cc), or not one for this Envoy: a script reads the tokens of answers"; fi

.PHONY: test
test: setup $(TOOLS)/python.ok $(TOOLS)/prometheus.ok ## Run all tests, with the race detector and a real Envoy
	@go test -race -timeout 15m $$(go list ./... | grep -v /test/e2e/)
	@PYTHON=$${PYTHON:-$(PYTHON)} go test -race -timeout 20m -p 1 ./test/e2e/...
	@$(MAKE) --no-print-directory test-memory

# What a test counts in allocations or bytes, the race detector would count too: these
# tests are built without it, and only into files of this name.
.PHONY: test-memory
test-memory: setup ## Run the tests of allocations and memory, without the race detector
	@go test -timeout 5m -run '^Test(Allocations|Memory)' $(sort $(dir $(shell find . -name '*_norace_test.go' -not -path './.*')))

.PHONY: soak
soak: setup ## The long ones: 100,000 requests of all kinds, 1,700 pushes (a quarter of an hour)
	@SOAK=100000 go test -timeout 40m -p 1 -run 'Sums|Pushes' -v ./test/e2e/usage ./test/e2e/pushes

.PHONY: lint
lint: $(TOOLS)/bin/golangci-lint-$(GOLANGCI_VERSION) ## Check style and vet
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run: make fmt"; exit 1; }
	@go vet ./...
	@$< run ./...

.PHONY: fmt
fmt: | need-go ## Format the code
	@gofmt -w $$(git ls-files '*.go')

.PHONY: bench
bench: setup ## Measure the lanes against a plain Envoy hop (several minutes; see docs/benchmarks.md)
	@go run ./test/load/cmd/bench --postern bin/postern $(BENCH)

.PHONY: golden
golden: | need-go ## Rewrite the golden files; read the difference before you commit it
	@go test ./config ./xds ./extproc ./envoy ./test/load -update
	@go test ./extproc/provider/bedrock -update-requests -update-answers

.PHONY: clean
clean: ## Remove everything that was built or installed here
	@rm -rf bin .tools .bench

.PHONY: need-go
need-go:
	@command -v go >/dev/null || { echo "Go is missing: install Go 1.26 or newer"; exit 1; }

$(TOOLS)/python.ok: test/python/requirements.txt test/python/aws.txt
	@command -v python3 >/dev/null || { echo "python3 is missing: install Debian's python3, python3-pip and python3-venv"; exit 1; }
	@python3 -m venv $(TOOLS)/python || { echo "python3 has no venv: install Debian's python3-venv"; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: $(addprefix -r ,$^)
	@touch $@

# Debian's package, which apt checks, unpacked: no root is needed. Without it the tests
# that need it are skipped, and say so.
$(TOOLS)/prometheus.ok:
	@mkdir -p $(TOOLS)/debian && cd $(TOOLS)/debian && \
	if command -v prometheus >/dev/null && command -v promtool >/dev/null; then touch $@; \
	elif { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } >/dev/null 2>&1 \
		&& dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin; then rm -f prometheus_*.deb; touch $@; \
	else echo "prometheus is missing, and apt-get cannot download it: install Debian's package prometheus"; fi

$(TOOLS)/bin/golangci-lint-$(GOLANGCI_VERSION): | need-go
	@GOBIN=$(TOOLS)/bin GOFLAGS= go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(TOOLS)/bin/golangci-lint $@
