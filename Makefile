# Stile: what people run. `make help` says what each target does.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
# Debian packages that the build needs; each is installed only when it is missing.
PACKAGES := liblmdb-dev libsystemd-dev pkg-config gcc libc6-dev

# The programs carry the Swift runtime inside, so that each installs as one file.
RELEASE := $(SWIFT) build -c release --static-swift-stdlib --product

.PHONY: help prepare build test lint prove demo bench install clean

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

prepare: ## Install the Debian packages the build needs, where they are missing
	@missing=""; for p in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "Installing Debian packages:$$missing"; \
	  if [ "$$(id -u)" = 0 ]; then sudo=""; elif command -v sudo >/dev/null; then sudo=sudo; \
	  else echo "These packages are missing and neither root nor sudo is at hand:$$missing" >&2; exit 1; fi; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing; fi

build: prepare ## Build stiled and stile in release
	$(RELEASE) stiled
	$(RELEASE) stile

demo: build ## See it at work: questions, live changes, latency beside the floor
	@bash benchmarks/demo.sh .build/release

bench: build ## Measure the floor and Stile in one run; writes benchmarks/results/latest.json
	@bash benchmarks/run.sh .build/release

install: build ## Install programs, units and completions (PREFIX, DESTDIR)
	install -D -m 0755 .build/release/stile $(DESTDIR)$(PREFIX)/bin/stile
	install -D -m 0755 .build/release/stiled $(DESTDIR)$(PREFIX)/bin/stiled
	install -D -m 0644 systemd/stiled.service $(DESTDIR)$(PREFIX)/lib/systemd/system/stiled.service
	install -D -m 0644 systemd/stiled.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/stiled.socket
	install -D -m 0644 systemd/stile.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/stile.conf
	install -D -m 0644 systemd/stile.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/stile.conf
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	.build/release/stile --generate-completion-script bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/stile

prove: build ## The slow proofs: many random policies, stale answers, killed writers, hostile frames
	STILE_PROVE_TRIPLES=200000 $(SWIFT) test --filter DifferentialTests
	TRIALS=10000 KILLS=200 FRAMES=1000000 QUESTIONS=100000 bash Tests/BlackBox/prove.sh .build/release

lint: ## Check the layout of the source
	$(SWIFT) format lint --strict --recursive --parallel Sources Tests

test: prepare ## Run all tests
	$(SWIFT) build --build-tests
	bash Tests/BlackBox/cli.sh .build/debug
	bash Tests/BlackBox/operations.sh .build/debug
	bash Tests/BlackBox/policies.sh .build/debug
	TRIALS=200 KILLS=10 FRAMES=20000 bash Tests/BlackBox/prove.sh .build/debug
	$(SWIFT) test --skip-build

clean: ## Remove what the build made
	rm -rf .build
