# Builds, tests and measures vswitch. `make help` lists the targets.
# It needs Go, git and make; `make check` needs a C compiler as well, for the
# race detector.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

GO        ?= go
PREFIX    ?= /usr/local
DESTDIR   ?=
FUZZTIME  ?= 20s
BENCH     ?= .
BENCHTIME ?= 1s
COUNT     ?= 10
OUT       ?= dist/bench.txt
PGOTIME   ?= 10s
TARGETS   ?= relay,vswitch,vswitch-l2,bridge,bridge-ct,ovs,vde
WORK      ?= bulk,bulk4,pps,flows,rr,crr
ROUNDS    ?= 5
SECONDS   ?= 3
RULES     ?= 3

# The binary reads its version from the build information that the Go command
# stamps into it. GOFLAGS may have turned the stamp off, so it is asked for by
# name, except where git does not answer: in an unpacked archive, or in a clone
# that belongs to somebody else. There the version is "(devel)".
VCS := $(shell git status --porcelain >/dev/null 2>&1 && echo auto || echo false)

# Root is needed to make namespaces and TAP interfaces.
ROOT := $(filter 0,$(shell id -u))
SUDO := $(if $(ROOT),,sudo)

# Tests and benchmarks are compiled without the profile cmd/vswitch/default.pgo,
# with which `go build` compiles the program: it would have everything that the
# program imports compiled a second time, for tests of the same behaviour, and it
# would move benchmarks that nobody has touched.
PGO_OFF := -pgo=off

# The packages whose tests run the built binary, apart from all others.
E2E := ./internal/e2e/...

.PHONY: build
build: ## build ./vswitch, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(VCS) -o vswitch ./cmd/vswitch

.PHONY: demo
demo: build ## a request that passes, one that a security group stops, one that a network ACL stops
	$(SUDO) examples/two-tier/demo ./vswitch

# Without root ring 4 does not run, and says so. With root a test that skips
# itself is a failure.
.PHONY: test
test: build ## all tests; as root those on real kernels too (rings 1 to 4)
	export CGO_ENABLED=0 VSWITCH_BINARY=$(CURDIR)/vswitch $(if $(ROOT),VSWITCH_REQUIRE_ROOT=1,)
	$(GO) test $(PGO_OFF) -timeout 4m $$($(GO) list ./... | grep -v /internal/e2e)
	$(GO) test $(PGO_OFF) -timeout 8m -count=1 $(if $(ROOT),,-v) $(E2E)
	$(if $(ROOT),,echo 'make test: not root, so nothing ran on a real kernel (ring 4): run "sudo make test"' >&2)

.PHONY: check
check: fmt vet lint tidy race ## what every commit must pass

.PHONY: fmt
fmt:
	@bad=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .)
	if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; exit 1; fi

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: lint
lint:
	$(GO) tool staticcheck ./...

.PHONY: tidy
tidy:
	$(GO) mod tidy -diff

# The end-to-end tests are left out: they drive a binary, which the race
# detector does not see into. -short leaves out what is long and has one goroutine.
.PHONY: race
race:
	CGO_ENABLED=1 $(GO) test $(PGO_OFF) -race -short -timeout 8m $$($(GO) list ./... | grep -v /internal/e2e)

# Before Go 1.27 the go command may report the end of -fuzztime itself as a failure,
# without an input: go.dev/issue/75804. Such a target, and no other, has passed if its
# seeds pass once more.
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (20s)
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT
	targets=$$(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort)
	while IFS=: read -r file func; do
		name=$${func#func }
		echo "==> $$(dirname "$$file") $$name"
		if $(GO) test $(PGO_OFF) -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 50x "$$(dirname "$$file")" </dev/null 2>&1 | tee "$$log"; then continue; fi
		if ! grep -q '^ *context deadline exceeded' "$$log" || grep -q 'Failing input' "$$log"; then exit 1; fi
		echo "==> no input failed: it is the end of the time that the go command took for a failure"
		$(GO) test $(PGO_OFF) -count=1 -run "^$$name\$$" "$$(dirname "$$file")"
	done <<<"$$targets"

.PHONY: bench
bench: ## run the benchmarks COUNT (10) times, into OUT (dist/bench.txt)
	mkdir -p $(dir $(OUT))
	$(GO) test $(PGO_OFF) -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(COUNT) ./... | tee $(OUT)

# The profile is that of the worker on real TAPs, and of nothing that drives it
# there. It names functions and lines within them, so it ages as they change:
# TestProfileFits tells when it no longer does what it is for. The benchmark runs
# out of a directory of its own, whose path is what the profile calls it by.
.PHONY: pgo
pgo: ## profile the switch on real TAPs, PGOTIME (10s) each of three kinds of traffic, into cmd/vswitch/default.pgo
	dir=$$(mktemp -d)
	trap 'rm -rf "$$dir"' EXIT
	CGO_ENABLED=0 $(GO) test $(PGO_OFF) -trimpath -c -o "$$dir/switch.test" ./switch
	$(SUDO) env VSWITCH_REQUIRE_ROOT=1 "$$dir/switch.test" -test.run '^$$' -test.bench '^BenchmarkTAP$$' -test.benchtime $(PGOTIME) -test.cpuprofile "$$dir/tap.prof"
	$(GO) tool pprof -proto -focus 'switch\.\(\*worker\)\.run$$' "$$dir/tap.prof" >"$$dir/default.pgo"
	cp "$$dir/default.pgo" cmd/vswitch/default.pgo
	ls -l cmd/vswitch/default.pgo

# Root is needed to make namespaces and TAP interfaces; a machine with other work
# measures that work too.
.PHONY: bench-peers
bench-peers: build ## compare with a bare relay, the Linux bridge, Open vSwitch, VDE (TARGETS, WORK, ROUNDS, SECONDS, RULES)
	CGO_ENABLED=0 $(GO) build -o dist/peers ./bench/peers
	$(SUDO) dist/peers -vswitch ./vswitch -targets '$(TARGETS)' -work '$(WORK)' -rounds '$(ROUNDS)' -seconds '$(SECONDS)' -rules '$(RULES)'

.PHONY: benchdiff
benchdiff: ## compare two files of `make bench`: OLD=a.txt NEW=b.txt
	$(if $(and $(OLD),$(NEW)),,$(error usage: make benchdiff OLD=a.txt NEW=b.txt))
	$(GO) tool benchstat $(OLD) $(NEW)

.PHONY: golden
golden: ## rewrite the golden files (ring 2); then read the diff
	$(GO) test $$(grep -rl --include='*_test.go' '"vswitch/internal/goldenfile"' . | xargs -r dirname | sort -u) -update

.PHONY: man
man: build ## write the manual pages into dist/man1
	./vswitch man dist/man1

.PHONY: install
install: man ## install into DESTDIR/PREFIX (/usr/local): bin/vswitch, share/man/man1
	install -D -m 0755 vswitch $(DESTDIR)$(PREFIX)/bin/vswitch
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 dist/man1/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/

.PHONY: clean
clean: ## remove what the targets above have made
	rm -rf vswitch dist

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Each recipe is one script: a failing line ends it.
.ONESHELL:
