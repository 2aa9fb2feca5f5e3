# Everything that is downloaded or built on the way goes into .cache/ and bin/.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)

# ENVOY is the Envoy of your own, an absolute path; without it the pinned one is got.
# OLD_ENVOY is one before 1.39, which tests look at; without it the pinned one is got.
# PROMETHEUS is a directory with a prometheus and a promtool of your own, an absolute path; without it the pinned ones are built.
# COMPOSE and KUSTOMIZE are those programs of your own; without them the pinned ones are got.
# ARGS is given to `breakwater run`, TESTFLAGS to `go test`.
ARGS ?=
TESTFLAGS ?=
PKGS ?= ./...
BENCHTIME ?= 2s
FUZZTIME ?= 30s
CHURN ?= 10m

GOLANGCI := .cache/bin/golangci-lint
export GOLANGCI_LINT_CACHE := $(CURDIR)/.cache/golangci

##@ Use
.PHONY: help
help: ## Say what the targets are
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: need-go ## Build bin/breakwater
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/breakwater ./cmd/breakwater

.PHONY: run
run: build ## Run the shop example behind a real Envoy; Ctrl-C ends it
	@envoy="$${ENVOY:-$$(command -v envoy || tools/get-envoy)}"; \
		ENVOY="$$envoy" exec bin/breakwater run $(ARGS)

.PHONY: envoy
envoy: ## Get the pinned Envoy into .cache and print its path
	@tools/get-envoy

.PHONY: prometheus
prometheus: need-go ## Build the pinned Prometheus and promtool into .cache and print their directory
	@tools/get-prometheus

.PHONY: compose
compose: ## Get the pinned Docker Compose into .cache and print its path
	@tools/get-compose

.PHONY: kustomize
kustomize: need-go ## Build the pinned kustomize into .cache and print its path
	@tools/get-kustomize

##@ Develop
# One package after the other: real Envoys, browsers and loads of two packages at once leave neither the time it needs.
.PHONY: test
test: need-go need-cc ## Run all tests with the race detector, against a real Envoy and Prometheus
	@envoy="$${ENVOY:-$$(tools/get-envoy)}"; \
		old="$${OLD_ENVOY:-$$(tools/get-envoy envoy-old)}"; \
		prometheus="$${PROMETHEUS:-$$(tools/get-prometheus)}"; \
		compose="$${COMPOSE:-$$(tools/get-compose)}"; \
		kustomize="$${KUSTOMIZE:-$$(tools/get-kustomize)}"; \
		python="$${PYTHON_PACKAGES:-$$(tools/get-python)}"; \
		export ENVOY="$$envoy" OLD_ENVOY="$$old" PROMETHEUS="$$prometheus" COMPOSE="$$compose" KUSTOMIZE="$$kustomize" PYTHON_PACKAGES="$$python"; \
		echo "ENVOY=$$envoy OLD_ENVOY=$$old PROMETHEUS=$$prometheus COMPOSE=$$compose KUSTOMIZE=$$kustomize PYTHON_PACKAGES=$$python go test -race -p 1 $(TESTFLAGS) $(PKGS)"; \
		go build -race $(PKGS); \
		go test -race -p 1 -timeout 30m $(TESTFLAGS) $(PKGS)
	go -C tools/grafana test $(TESTFLAGS) ./...

.PHONY: load
load: need-go need-cc ## Run the load test against a shop of its own, and print what locust saw
	@envoy="$${ENVOY:-$$(tools/get-envoy)}"; python="$${PYTHON_PACKAGES:-$$(tools/get-python)}"; \
		ENVOY="$$envoy" PYTHON_PACKAGES="$$python" go test -race -count=1 -v ./test/load

.PHONY: churn
churn: need-go need-cc ## Let everything happen at once to a running Breakwater for CHURN (10m), and print what was lost and what grew
	@envoy="$${ENVOY:-$$(tools/get-envoy)}"; \
		ENVOY="$$envoy" CHURN=$(CHURN) go test -race -count=1 -v -timeout 4h -run '^TestChurn$$' ./test/e2e

.PHONY: check
check: check-format check-vet check-lint check-tidy check-generated check-rules check-scripts check-page check-deploy ## Check all that is not a test

.PHONY: bench
bench: need-go ## Run the benchmarks and print their figures
	@envoy="$${ENVOY:-$$(tools/get-envoy)}"; \
		ENVOY="$$envoy" go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout 30m $(PKGS)

.PHONY: fuzz
fuzz: need-go ## Run each fuzz test for FUZZTIME (30s)
	@for package in $$(go list $(PKGS)); do \
		for name in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "$$package $$name"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

.PHONY: generate
generate: need-go ## Generate code anew
	go tool -modfile=tools/buf.mod buf generate
	go generate ./...
	tools/bundle-page
	go -C tools/grafana run . $(CURDIR)/deploy/grafana/dashboards/circuit-breakers.json

.PHONY: format
format: $(GOLANGCI) ## Format the Go code
	$(GOLANGCI) fmt

.PHONY: tidy
tidy: need-go ## Tidy all module files
	@tools/check-tidy --write

.PHONY: clean
clean: ## Remove what was built and run; .cache stays
	rm -rf bin .run

# The parts of check, each of which can be run alone.

.PHONY: check-format
check-format: $(GOLANGCI)
	$(GOLANGCI) fmt --diff

.PHONY: check-vet
check-vet: need-go
	go vet ./...
	go -C tools/grafana vet ./...

.PHONY: check-lint
check-lint: $(GOLANGCI)
	$(GOLANGCI) run
	cd tools/grafana && $(CURDIR)/$(GOLANGCI) run

.PHONY: check-tidy
check-tidy: need-go
	@echo tools/check-tidy
	@tools/check-tidy

.PHONY: check-generated
check-generated: need-go
	@tools/check-generated

.PHONY: check-rules
check-rules:
	@echo tools/check-rules
	@tools/check-rules

.PHONY: check-scripts
check-scripts:
	@echo tools/check-scripts
	@tools/check-scripts

.PHONY: check-page
check-page: need-go
	@echo tools/check-page
	@tools/check-page

.PHONY: check-deploy
check-deploy: need-go
	@echo tools/check-deploy
	@tools/check-deploy

$(GOLANGCI): tools/golangci.mod tools/golangci.sum
	@echo "building golangci-lint into .cache (a minute or two, once)"
	@mkdir -p $(@D)
	go build -modfile=tools/golangci.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

.PHONY: need-go
need-go:
	@command -v go >/dev/null || { echo "error: Go is needed: at least the version in go.mod" >&2; exit 1; }

.PHONY: need-cc
need-cc:
	@cc="$$(go env CC)"; command -v "$${cc%% *}" >/dev/null || { echo "error: the race detector needs a C compiler ($$cc); on Debian and Ubuntu: apt-get install gcc libc6-dev" >&2; exit 1; }
