# The way to do everything. `make` alone lists the targets.

# Set to build elsewhere than in ./target.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
GUNGRAUN_VERSION := 0.20.0
PLAYWRIGHT_VERSION := 1.65.2
# Of each fuzz target; and which ones, all when empty.
FUZZ_SECONDS ?= 60
FUZZ ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint fmt bench versus netns cluster lab conformance browser measure fuzz fuzz-check \
  tools-cluster tools-conformance tools-browser tools-lint tools-bench tools-fuzz ci

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## four toy backends behind a proxy on loopback; no cluster, no root
	cargo run --quiet -- demo

test: ## unit, integration and layering tests
	cargo test

lint: tools-lint ## format, clippy, docs, licences and sources of dependencies
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	# Links to private items are meant: the reader has the source.
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --no-deps --document-private-items
	cargo deny --log-level error check bans licenses sources

fmt: ## format the sources
	cargo fmt

bench: tools-bench ## instruction counts of the hot paths, under valgrind
	cargo bench --bench micro

versus: ## CPU time per request beside Debian's haproxy and nginx, as a table
	cargo build --release
	python3 bench/versus/run.py --sluice $(abspath $(TARGET_DIR))/release/sluice --results-dir bench/results

cluster: tools-cluster ## stories before a real Kubernetes API server, and in a homelab (needs Go, and root or user namespaces)
	cargo build
	LAB_REQUIRE=1 $(MAKE) -C tests/cluster lint test SLUICE_BIN=$(abspath $(TARGET_DIR))/debug/sluice

lab: tools-cluster ## a homelab with real nodes and a sluice, to play with until Ctrl-C (needs Go, nftables, root or user namespaces)
	cargo build
	$(MAKE) -C tests/cluster lab SLUICE_BIN=$(abspath $(TARGET_DIR))/debug/sluice

measure: ## change to live among 1,000 Services of a real API server, as a table
	cargo build --release
	LAB_REQUIRE=1 $(MAKE) -C tests/cluster measure SLUICE_BIN=$(abspath $(TARGET_DIR))/release/sluice

netns: ## stories between a client, a router and two nodes with networks of their own (needs root or user namespaces)
	LAB_REQUIRE=1 cargo test --test netns

conformance: tools-conformance ## h2spec, gRPC's interop cases, ACME before Pebble, TLS scanners (needs Go, openssl, testssl.sh)
	cargo build
	$(MAKE) -C tests/conformance lint test SLUICE_BIN=$(abspath $(TARGET_DIR))/debug/sluice
	LAB_REQUIRE=1 cargo test --test acme
	python3 tests/conformance/tls.py --sluice $(abspath $(TARGET_DIR))/debug/sluice

browser: tools-browser ## a page, WebSockets and 2 GiB through a real Chromium (needs python3 and openssl)
	cargo build
	$(TARGET_DIR)/browser/bin/python tests/browser/trial.py --sluice $(TARGET_DIR)/debug/sluice

fuzz: tools-fuzz ## every fuzz target for FUZZ_SECONDS (60) each, under a sanitizer (needs Rust nightly)
	cp Cargo.lock fuzz/Cargo.lock
	@set -e; for target in $(or $(FUZZ),$$(cargo +nightly fuzz list)); do \
	  seeds=fuzz/seeds/$$target; [ $$target != file_schema ] || seeds=config; \
	  mkdir -p fuzz/corpus/$$target $$seeds; \
	  words=fuzz/dictionaries/$$target.dict; words=$$([ ! -f $$words ] || echo -dict=$$words); \
	  echo "fuzz: $$target, $(FUZZ_SECONDS) s"; \
	  cargo +nightly fuzz run -O --target-dir $(abspath $(TARGET_DIR))/fuzz $$target fuzz/corpus/$$target $$seeds -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 $$words; \
	done

fuzz-check: ## the fuzz targets compile
	cp Cargo.lock fuzz/Cargo.lock
	cargo check --manifest-path fuzz/Cargo.toml --target-dir $(abspath $(TARGET_DIR))

tools-cluster:
	@{ command -v nft && command -v haproxy; } >/dev/null || \
	  { apt-get update -q && apt-get install -qy --no-install-recommends nftables haproxy; } || \
	  { echo "nft or haproxy is missing: apt-get install nftables haproxy"; exit 1; }

tools-conformance:
	@$(MAKE) -C tests/conformance/acme tools
	@command -v testssl >/dev/null || { apt-get update -q && apt-get install -qy testssl.sh; } || \
	  { echo "testssl.sh is missing: apt-get install testssl.sh"; exit 1; }

tools-browser:
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -qy --no-install-recommends chromium; } || \
	  { echo "chromium is missing: apt-get install chromium"; exit 1; }
	@$(TARGET_DIR)/browser/bin/pip show playwright 2>/dev/null | grep -qF "$(PLAYWRIGHT_VERSION)" || \
	  { python3 -m venv $(TARGET_DIR)/browser && \
	  $(TARGET_DIR)/browser/bin/pip install -q --disable-pip-version-check playwright==$(PLAYWRIGHT_VERSION); }

tools-lint:
	@cargo deny --version 2>/dev/null | grep -qF "$(CARGO_DENY_VERSION)" || \
	  cargo install cargo-deny --locked --version $(CARGO_DENY_VERSION)

tools-bench:
	@command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind"; exit 1; }
	@gungraun-runner --version 2>/dev/null | grep -qF "$(GUNGRAUN_VERSION)" || \
	  cargo install gungraun-runner --locked --version $(GUNGRAUN_VERSION)

tools-fuzz:
	@cargo fuzz --version 2>/dev/null | grep -qF "$(CARGO_FUZZ_VERSION)" || \
	  cargo install cargo-fuzz --locked --version $(CARGO_FUZZ_VERSION)

ci: test lint fuzz-check netns cluster conformance ## exactly what CI runs
