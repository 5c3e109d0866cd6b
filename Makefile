# Stile: what people run. `make help` says what each target does.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
# Debian packages that the build needs; each is installed only when it is missing.
PACKAGES := liblmdb-dev libsystemd-dev libssl-dev libzstd-dev pkg-config gcc libc6-dev python3

# And those that the tests need besides: of the gateway, of the manual.
TEST_PACKAGES := curl python3 python3-venv openssl nginx-light haproxy lmdb-utils mandoc

# The programs carry the Swift runtime inside, so that each installs as one file.
RELEASE := $(SWIFT) build -c release --static-swift-stdlib --product
# What decides resolves and builds nothing of the HTTP stack (Package.swift).
CORE := STILE_WITHOUT_GATEWAY=1

# The tests built in release, for the long random ones: a million triples take minutes, and most of an hour in debug.
RELEASE_TESTS := .build/release-tests

# The C client is a library of its own.
CLIENT := .build/libstile
CLIENT_VERSION := $(shell sed -n 's/^\#define STILE_VERSION "\(.*\)"/\1/p' Sources/CStile/include/stile.h)
CLIENT_FLAGS := -std=c11 -O2 -g -fPIC -fvisibility=hidden -fstack-protector-strong -D_FORTIFY_SOURCE=2 \
  -Wall -Wextra -Wconversion -Wshadow -Werror -ISources/CStile/include
CLIENT_SONAME := libstile.so.0

# The tool that makes requests from the published description of the API, in a folder of its own.
SCHEMATHESIS := .build/schemathesis

# What measuring against other engines and proving against Cedar needs: Python packages in a folder of their own.
PEERS_HOME := benchmarks/.venv
PEERS_PYTHON := $(PEERS_HOME)/bin/python3

# Where the programs lie that are installed.
BINARIES ?= .build/release

.PHONY: help prepare prepare-tests build build-gateway install-gateway libstile test fuzz lint prove demo bench bench-table bench-engine bench-compile bench-http install install-libstile install-manual clean

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

# Installs the packages that are missing of those named.
define install_missing
	@missing=""; for p in $(1); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "Installing Debian packages:$$missing"; \
	  if [ "$$(id -u)" = 0 ]; then sudo=""; elif command -v sudo >/dev/null; then sudo=sudo; \
	  else echo "These packages are missing and neither root nor sudo is at hand:$$missing" >&2; exit 1; fi; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing; fi
endef

prepare: ## Install the Debian packages the build needs, where they are missing
	$(call install_missing,$(PACKAGES))

prepare-tests: prepare $(SCHEMATHESIS)/ready ## Install what the tests need besides
	$(call install_missing,$(TEST_PACKAGES))

$(SCHEMATHESIS)/ready: Tests/BlackBox/schemathesis.txt
	$(call install_missing,$(TEST_PACKAGES))
	python3 -m venv $(SCHEMATHESIS)
	$(SCHEMATHESIS)/bin/pip install --quiet --disable-pip-version-check -r Tests/BlackBox/schemathesis.txt
	touch $@

build: prepare libstile ## Build stiled, stile and libstile in release
	$(CORE) $(RELEASE) stiled
	$(CORE) $(RELEASE) stile

libstile: $(CLIENT)/libstile.a $(CLIENT)/libstile.so ## Build the C client alone

$(CLIENT)/%.o: Sources/CStile/%.c Sources/CStile/internal.h Sources/CStile/include/stile.h
	@mkdir -p $(CLIENT)
	$(CC) $(CLIENT_FLAGS) -c -o $@ $<

CLIENT_OBJECTS := $(patsubst Sources/CStile/%.c,$(CLIENT)/%.o,$(wildcard Sources/CStile/*.c))

$(CLIENT)/libstile.a: $(CLIENT_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(CLIENT)/libstile.so: $(CLIENT_OBJECTS) Sources/CStile/libstile.map
	$(CC) -shared -o $(CLIENT)/libstile.so.$(CLIENT_VERSION) $(CLIENT_OBJECTS) -pthread \
	  -Wl,--version-script=Sources/CStile/libstile.map -Wl,-soname,$(CLIENT_SONAME) -Wl,-z,defs,-z,relro,-z,now
	ln -sf libstile.so.$(CLIENT_VERSION) $(CLIENT)/$(CLIENT_SONAME)
	ln -sf $(CLIENT_SONAME) $@

build-gateway: prepare ## Build stile-gateway in release: the HTTP stack takes minutes the first time
	$(RELEASE) stile-gateway

demo: build ## See it at work: questions, live changes, latency beside the floor
	@bash benchmarks/demo.sh .build/release

bench: build $(if $(PEERS),bench-peers) ## Measure the floor and Stile in one run (QUICK=1: a minute; PEERS=1: others too)
	@bash benchmarks/run.sh .build/release

$(PEERS_HOME)/ready: benchmarks/peers.txt
	python3 -m venv $(PEERS_HOME)
	$(PEERS_HOME)/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	touch $@

.PHONY: bench-peers
bench-peers: prepare $(PEERS_HOME)/ready
	$(CORE) $(SWIFT) build -c release --product engine-bench

# Where the packages cannot be had, what needs them says so.
.PHONY: peers
peers:
	@$(MAKE) --no-print-directory $(PEERS_HOME)/ready || echo "Cedar and regorus could not be installed" >&2

bench-engine: prepare $(PEERS_HOME)/ready ## Time decisions in process, beside Cedar and regorus; writes benchmarks/results/engine.json
	$(CORE) $(SWIFT) build -c release --product engine-bench
	@python3 benchmarks/engine.py .build/release $(PEERS_PYTHON)

bench-compile: prepare ## Compile growing and adversarial policies: table, plot, growth
	$(CORE) $(SWIFT) build -c release --product engine-bench
	@python3 benchmarks/engine.py .build/release --compile

bench-http: build build-gateway ## Measure AuthZEN over HTTP beside a fixed answer of the same framework; writes benchmarks/results/http.json
	$(call install_missing,wrk gcc util-linux)
	$(RELEASE) http-floor
	@python3 benchmarks/over_http.py .build/release benchmarks/results/http.json

bench-table: ## Put the figures of the last run into README.md
	@mkdir -p benchmarks/out
	@$(SWIFT) build --package-path benchmarks -c release --product bench >benchmarks/out/build.log 2>&1 || { tail -20 benchmarks/out/build.log >&2; exit 1; }
	@benchmarks/.build/release/bench table benchmarks/results/latest.json README.md

install-libstile: libstile ## Install the C client alone
	install -D -m 0644 Sources/CStile/include/stile.h $(DESTDIR)$(PREFIX)/include/stile.h
	install -D -m 0644 $(CLIENT)/libstile.a $(DESTDIR)$(PREFIX)/lib/libstile.a
	install -D -m 0755 $(CLIENT)/libstile.so.$(CLIENT_VERSION) $(DESTDIR)$(PREFIX)/lib/libstile.so.$(CLIENT_VERSION)
	ln -sf libstile.so.$(CLIENT_VERSION) $(DESTDIR)$(PREFIX)/lib/$(CLIENT_SONAME)
	ln -sf $(CLIENT_SONAME) $(DESTDIR)$(PREFIX)/lib/libstile.so
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(CLIENT_VERSION)|' Sources/CStile/libstile.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/libstile.pc
	install -D -m 0644 Sources/CStile/libstile.3 $(DESTDIR)$(PREFIX)/share/man/man3/libstile.3

# Of the programs that are built; the gateway's come with install-gateway.
install-manual: ## Install manual pages and completions alone
	python3 docs/man/generate.py $(BINARIES) .build/man
	for page in .build/man/*; do \
	  install -D -m 0644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}; done
	for program in stile stiled stile-gateway; do \
	  [ -x $(BINARIES)/$$program ] || continue; \
	  install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d; \
	  $(BINARIES)/$$program --generate-completion-script bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$program; \
	  $(BINARIES)/$$program --generate-completion-script zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_$$program; \
	  $(BINARIES)/$$program --generate-completion-script fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$$program.fish; \
	done

install: build install-libstile install-manual ## Install programs, the C client, units, manual and completions (PREFIX, DESTDIR)
	install -D -m 0755 .build/release/stile $(DESTDIR)$(PREFIX)/bin/stile
	install -D -m 0755 .build/release/stiled $(DESTDIR)$(PREFIX)/bin/stiled
	install -D -m 0644 systemd/stiled.service $(DESTDIR)$(PREFIX)/lib/systemd/system/stiled.service
	install -D -m 0644 systemd/stiled.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/stiled.socket
	install -D -m 0644 systemd/stile.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/stile.conf
	install -D -m 0644 systemd/stile.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/stile.conf

install-gateway: build-gateway install-manual ## Install the gateway, its units and the proxies' examples
	install -D -m 0755 .build/release/stile-gateway $(DESTDIR)$(PREFIX)/bin/stile-gateway
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system systemd/stile-gateway.service systemd/stile-gateway-*.socket
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/stile systemd/gateway.json systemd/stile-gateway-network.conf
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/stile/proxies systemd/proxies/*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/stile grammar/administration.openapi.json grammar/authzen.openapi.json

prove: build build-gateway $(SCHEMATHESIS)/ready peers ## The slow proofs: random policies, Cedar's answers, stale answers, killed writers, hostile frames
	$(CORE) $(SWIFT) build -c release --build-tests -Xswiftc -enable-testing --scratch-path $(RELEASE_TESTS)
	STILE_PROVE_TRIPLES=1000000 $(CORE) $(SWIFT) test -c release --skip-build --scratch-path $(RELEASE_TESTS) \
	  --filter DifferentialTests
	STILE_PROVE_PAIRS=300 STILE_PROVE_BUDGET=200000000 STILE_PROVE_SENTENCES=4000 \
	  $(CORE) $(SWIFT) test -c release --skip-build --scratch-path $(RELEASE_TESTS) \
	  --filter "RandomComparisonTests|GrammarTests|CascadeTests|FormatTests"
	REQUIRED=1 bash Tests/Fuzz/run.sh 600
	REQUIRED=1 QUESTIONS=100000 REQUESTS=500 ROUNDS=4 bash Tests/Cedar/run.sh .build/release $(PEERS_PYTHON)
	TRIALS=10000 KILLS=200 FRAMES=1000000 QUESTIONS=100000 bash Tests/BlackBox/prove.sh .build/release
	$(CORE) $(SWIFT) build -c release --product client-example
	$(CORE) $(SWIFT) build -c release --product client-exercise
	SANITIZERS="address,undefined thread" FUZZ=5000000 RESTARTS=100 bash Tests/BlackBox/clients.sh .build/release
	OPEN=100000 SIGNALS=2000 ROUNDS=500 bash Tests/BlackBox/subscriptions.sh .build/release
	KILLS=100 bash Tests/BlackBox/log.sh .build/release
	ROWS=10000 POLICIES=60 python3 Tests/BlackBox/plan.py .build/release
	@mkdir -p benchmarks/results
	CONNECTIONS=255 ROUNDS=60 SECONDS_EACH=0.1 LIMIT=1.1 URGENT=1 IDLE=10 bash Tests/BlackBox/fair.sh .build/release benchmarks/results/fairness.jsonl
	RESTARTS=100 bash Tests/BlackBox/restarts.sh .build/release
	ACTIVATIONS=1000 SIGNALS=100000 UPDATES=1000000 QUIET=20 LIMIT=2 URGENT=1 \
	  bash Tests/BlackBox/churn.sh .build/release benchmarks/results/churn.json
	KILLS=100 TIMES=300 TIMES_LIMIT=1.25 python3 Tests/BlackBox/gateway.py .build/release
	python3 Tests/BlackBox/authzen.py .build/release
	python3 Tests/BlackBox/schemathesis.py .build/release $(SCHEMATHESIS)/bin/schemathesis 100

fuzz: prepare ## Fuzz parser, checker and compiler with libFuzzer, each for SECONDS (60)
	bash Tests/Fuzz/run.sh $(or $(SECONDS),60)

lint: ## Check the layout of the source
	$(SWIFT) format lint --strict --recursive --parallel Sources Tests benchmarks/engine benchmarks/http benchmarks/Sources

test: prepare-tests peers ## Run all tests
	$(SWIFT) build --build-tests
	bash Tests/BlackBox/cli.sh .build/debug
	python3 Tests/BlackBox/lsp.py .build/debug
	bash Tests/BlackBox/operations.sh .build/debug
	KILLS=2 bash Tests/BlackBox/log.sh .build/debug
	bash Tests/BlackBox/shadow.sh .build/debug
	bash Tests/BlackBox/clients.sh .build/debug
	bash Tests/BlackBox/policies.sh .build/debug
	bash Tests/BlackBox/analysis.sh .build/debug
	bash Tests/BlackBox/survey.sh .build/debug
	bash Tests/BlackBox/grants.sh .build/debug
	python3 Tests/BlackBox/compare.py .build/debug
	SEED=1 ROWS=1000 POLICIES=5 python3 Tests/BlackBox/plan.py .build/debug
	python3 Tests/Manual/manual.py .build/debug
	python3 Tests/Manual/man.py .build/debug
	bash Tests/Cedar/run.sh .build/debug $(PEERS_PYTHON)
	TRIALS=200 KILLS=10 FRAMES=20000 bash Tests/BlackBox/prove.sh .build/debug
	bash Tests/BlackBox/subscriptions.sh .build/debug
	bash Tests/BlackBox/fair.sh .build/debug
	RESTARTS=5 bash Tests/BlackBox/restarts.sh .build/debug
	ACTIVATIONS=5 SIGNALS=500 UPDATES=10000 bash Tests/BlackBox/churn.sh .build/debug
	python3 Tests/BlackBox/gateway.py .build/debug
	python3 Tests/BlackBox/authzen.py .build/debug
	python3 Tests/BlackBox/schemathesis.py .build/debug $(SCHEMATHESIS)/bin/schemathesis 2
	bash Tests/Fuzz/run.sh replay
	# One after the other, and the random ones short, each from a seed that it prints; `make prove` takes many.
	STILE_PROVE_PAIRS=15 $(SWIFT) test --skip-build --no-parallel

clean: ## Remove what the build made
	rm -rf .build benchmarks/.build benchmarks/out
