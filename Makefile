# Everything here needs Go, make and git alone; modules and tools are fetched by Go, tools into ./.tools.
# `make help` lists the targets; CONTRIBUTING.md says when to use which.

SHELL := /bin/sh
.DEFAULT_GOAL := help

GO      ?= go
BIN     := bin
TOOLS   := $(CURDIR)/.tools
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# Tools, pinned. Each lies under its version, so that a new pin is a new file.
GOLANGCI_VERSION  := v2.15.0
BENCHSTAT_VERSION := v0.0.0-20260908200009-22c9c6c9d4da
VULN_VERSION      := v1.9.0
GREMLINS_VERSION  := v0.6.0
GOLANGCI  := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
BENCHSTAT := $(TOOLS)/benchstat-$(BENCHSTAT_VERSION)/benchstat
VULN      := $(TOOLS)/govulncheck-$(VULN_VERSION)/govulncheck
GREMLINS  := $(TOOLS)/gremlins-$(GREMLINS_VERSION)/gremlins

# The race detector needs a C compiler; Go knows whether it found one.
RACE := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

# A number of inputs, or a time such as 1m.
FUZZTIME ?= 50000x
CRASH    ?= Crash|Kill|Pause|Torn|Garbled|Fault|Power|DiskFull|Damage|Corrupt
ROUNDS   ?= 30
BENCHFLAGS ?=

# Packages whose code make mutate changes. A package's result is a file under .mutate; one that is there is kept.
MUTATE ?= core/record core/replica core/partition raftstore/log raftstore/stable raftstore/snapshot \
	raftstore/boltlog raftstore/group raftstore/vfs

# What the code must build for besides the machine at hand. Linux is what is tested.
PLATFORMS ?= $(filter-out $(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH), \
	linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64)

.PHONY: help build plugins test race lint fmt fmt-check tidy-check vet fuzz crash kill mutate cross vuln bench compare demo check ci \
	ci-fuzz ci-crash tools clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/wasmill
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/wasmill ./cmd/wasmill

plugins: ## build the ready-made transforms into bin/plugins
	$(GO) run ./plugins/build -o $(BIN)/plugins

test: fmt-check vet ## all checks that need no tools, and every test, with the race detector where there is a C compiler
	$(GO) test $(RACE) -timeout 14m ./...

race: ## every test under the race detector, three times over, in a random order
	CGO_ENABLED=1 $(GO) test -race -count=3 -shuffle=on -timeout 40m ./...

lint: $(GOLANGCI) ## golangci-lint (built once into .tools, about two minutes)
	$(GOLANGCI) run ./...

fmt: ## format the tree
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

fmt-check: # every file is formatted
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi

tidy-check: # go.mod and go.sum name what is needed, and nothing else
	$(GO) mod tidy -diff

vet: # go vet
	$(GO) vet ./...

fuzz: ## run every fuzz target on FUZZTIME (50000x) new inputs each
	@set -e; for package in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do \
		for target in $$(git grep -h '^func Fuzz' -- $$package/*_test.go | sed 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$package; \
		done; \
	done

crash: ## the crash and fault tests alone, not from the cache, with ROUNDS (30) kills in each loop
	WASMILL_CRASH_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 30m -run '$(CRASH)' ./core/... ./raftstore/... ./tests/...

kill: ## the kill loops alone: ROUNDS kills under load in each, with figures; make kill ROUNDS=300 takes a while
	WASMILL_CRASH_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 4h -v -run 'Kill' ./tests/crash

mutate: $(MUTATE:%=.mutate/%.json) ## change the code of MUTATE's packages on purpose, see whether their own tests fail

# One change at a time, at the lowest priority, so that timeouts are those of a machine that is not busy with it.
# The time limit of a change is a multiple of the first run of the tests: that one must not come from the cache.
# A run that is interrupted leaves no file and is repeated as a whole; those of other packages are kept.
.mutate/%.json: $(GREMLINS)
	mkdir -p $(@D)
	GOFLAGS='$(shell $(GO) env GOFLAGS) -count=1' nice -n 19 $(GREMLINS) unleash ./$* --workers 1 --timeout-coefficient 5 --invert-loopctrl --output $@.part > $(@:.json=.txt)
	mv $@.part $@

cross: ## build everything for each of PLATFORMS, unoptimised for speed
	@set -e; for platform in $(PLATFORMS); do \
		echo "build for $$platform"; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} CGO_ENABLED=0 $(GO) build -gcflags='all=-N -l' ./...; \
	done

vuln: $(VULN) ## known vulnerabilities of what is used; asks Go's vulnerability database
	$(VULN) ./...

bench: ## the broker against the raw limits of this machine (BENCHFLAGS go to it)
	$(GO) run ./benchmarks $(BENCHFLAGS)

compare: ## the broker against another version's binary, turn by turn: make compare BASE=path/to/wasmill
	@test -x '$(BASE)' || { echo "name the other version's binary: make compare BASE=path/to/wasmill"; exit 2; }
	$(GO) run ./benchmarks -compare $(abspath $(BASE)) $(BENCHFLAGS)

demo: ## the main job, start to end, on real input
	$(GO) run ./tests/demo

check: lint test plugins build ## lint, every test, the plugins and the binary

# The steps are in order of how soon they find something; -k in .ci/run lets all of them run.
ci: tidy-check fmt-check lint test ci-crash ci-fuzz cross ## all that must pass before a change goes in

ci-crash:
	$(MAKE) crash CRASH=Loop ROUNDS=15

ci-fuzz:
	$(MAKE) fuzz FUZZTIME=3000x

tools: $(GOLANGCI) $(BENCHSTAT) $(VULN) $(GREMLINS) ## build the pinned tools into .tools

$(GOLANGCI):
	GOBIN=$(@D) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(BENCHSTAT):
	GOBIN=$(@D) $(GO) install golang.org/x/perf/cmd/benchstat@$(BENCHSTAT_VERSION)

$(VULN):
	GOBIN=$(@D) $(GO) install golang.org/x/vuln/cmd/govulncheck@$(VULN_VERSION)

$(GREMLINS):
	GOBIN=$(@D) $(GO) install github.com/go-gremlins/gremlins/cmd/gremlins@$(GREMLINS_VERSION)

clean: ## remove what make built, the tools excepted
	rm -rf $(BIN)
