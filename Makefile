# Every target is a thin call; what it does stands in scripts/ or in a crate.

N ?= 200
MINUTES ?= 10
GIGABYTES ?= 2
ROUNDS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo drill-all test lint format book docs py-test bench bench-crypto bench-failover bench-fleet bench-logical bench-memory bench-peers bench-relations deb test-deb soak-agent soak-crash soak-failover soak-physical soak-rpo soak-runbook fuzz coverage

help: ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: ## Installs the servers and tools that tests and benchmarks need
	scripts/setup

demo: ## Backs up, verifies, breaks and restores a throwaway server, on a fresh machine too
	scripts/demo

drill-all: ## Rehearses every scenario from the backups of a throwaway server
	scripts/drill-all

test: ## Checks everything, as CI does
	scripts/test

lint: ## Checks format, lints and documentation
	scripts/lint

format: ## Formats the code
	cargo fmt --all

book: ## Builds the book of docs/ into target/book
	scripts/book

docs: book ## Builds the book, and the documentation of the crates
	cargo doc --workspace --exclude erpgo-dr-py --no-deps --all-features

py-test: ## Builds the Python wheel and runs its tests
	scripts/setup
	scripts/test-python

bench: ## Runs the criterion benchmarks
	cargo bench -p erpgo-dr-benches

bench-crypto: ## Measures sealing and opening beside openssl's own
	cargo run --release -q -p erpgo-dr-benches --bin bench_crypto

bench-failover: ## Measures a failover beside Patroni's (ROUNDS=3)
	scripts/setup bench
	cargo run --release -q -p erpgo-dr-benches --bin bench_failover -- $(ROUNDS)

bench-fleet: ## Measures the memory of one agent for N clusters, and what it does too late (N=200 MINUTES=10)
	scripts/setup
	cargo build --release -q -p erpgo-dr-cli
	cargo run --release -q -p erpgo-dr-benches --bin bench_fleet -- $(N) $(MINUTES)

bench-logical: ## Measures a logical backup beside pg_dump piped into openssl
	scripts/setup
	cargo build --release -q -p erpgo-dr-cli
	cargo run --release -q -p erpgo-dr-benches --bin bench_logical

bench-memory: ## Measures resident memory at 1, 4 and 8 GB
	scripts/setup
	cargo build --release -q -p erpgo-dr-cli
	cargo run --release -q -p erpgo-dr-benches --bin bench_memory

bench-peers: ## Measures clusters and WAL beside pgBackRest and the shell (GIGABYTES=2 ROUNDS=3)
	scripts/setup bench
	cargo build --release -q -p erpgo-dr-cli
	cargo run --release -q -p erpgo-dr-benches --bin bench_peers -- $(GIGABYTES) $(ROUNDS)

bench-relations: N = 200000
bench-relations: ## Measures memory and objects of a cluster of N relations (N=200000)
	scripts/setup
	cargo build --release -q -p erpgo-dr-cli
	cargo run --release -q -p erpgo-dr-benches --bin bench_relations -- $(N)

deb: ## Builds the Debian package
	scripts/deb

test-deb: ## Installs the Debian package in a Debian of its own, as a new user would, up to the first verified backup
	scripts/test-deb

soak-agent: MINUTES = 60
soak-agent: ## Runs the agent while its store and its database are killed and come back (MINUTES=60)
	scripts/setup
	scripts/soak-agent $(MINUTES)

soak-crash: ## Kills N backups and prunes at random moments (N=200)
	scripts/setup
	scripts/soak-crash $(N)

soak-failover: ## Breaks the primary of a watched pair until it has failed over N times (N=200)
	scripts/setup
	scripts/soak-failover $(N)

soak-physical: ## Kills N physical backups, servers and prunes, and restores what is left (N=200)
	scripts/setup
	scripts/soak-physical $(N)

soak-rpo: ## Loses the database's host N times under a synchronous stream (N=200)
	scripts/setup
	scripts/soak-rpo $(N)

soak-runbook: ## Kills N runs of the shipped runbooks, and resumes them (N=200)
	scripts/setup
	scripts/soak-runbook $(N)

fuzz: ## Fuzzes each target for some minutes, and keeps its corpus (MINUTES=10)
	scripts/setup fuzz
	scripts/fuzz $$(( $(MINUTES) * 60 )) keep

coverage: ## Measures which lines of the library the tests reach
	scripts/setup coverage
	scripts/coverage
