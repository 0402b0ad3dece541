# The list of commands. Each is a script in scripts/, which says what it does and can be called
# without make.

.DEFAULT_GOAL := help
.PHONY: help run test test-otp test-autobahn check fuzz bench bench-dist bench-edge bench-nif bench-token clean

help: ## List these commands
	@sed -n 's/^\([a-z-]*\): .*## /\1	/p' Makefile | awk -F '\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'

run: ## Build, start an Erlang node and the edge, open an Erlang shell, say where the page is
	@scripts/run

test: ## All checks and tests, as continuous integration runs them
	@scripts/test

test-otp: ## The suites with real Erlang nodes, on OTP 25, 27 and 29; unpacks what is missing
	@scripts/test-otp

test-autobahn: ## The cases of the Autobahn testsuite against WebSockets, through a real Erlang node
	@scripts/test-autobahn

check: ## The quick part of the tests: formatting, lints, unit tests, xref, and that benches compile
	@scripts/test --quick

fuzz: ## Fuzz what reads from peers, a minute a target; `scripts/fuzz SECONDS` goes on longer
	@scripts/fuzz

bench: ## What is measured, at full size: counts must be exact, times are printed beside other servers'
	@scripts/bench

bench-dist: ## What receiving from Erlang costs, beside a C node on ei and beside Erlang
	@scripts/bench-dist

bench-edge: ## What writing to streams and accepting them costs, beside bare loops of system calls
	@scripts/bench-edge

bench-nif: ## What a call of the NIF library takes of the scheduler that it runs on
	@scripts/bench-nif

bench-token: ## What checking a token costs, beside the bare check of its signature
	@cargo bench --locked -p lariat --bench token

clean: ## Remove what was built or unpacked, and the data of `make run`
	rm -rf target priv _build _otp run fuzz/target
