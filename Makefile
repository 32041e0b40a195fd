.PHONY: demo test bench fmt lint

# Builds dil and shows it at work, offline, into ./demo/.
demo:
	@scripts/demo.sh

# Installs what the tests need and runs all of them.
test:
	@scripts/test.sh

# Measures dil beside what users would pick instead; ARGS="--help" lists the choices.
bench:
	@scripts/bench.sh $(ARGS)

fmt:
	@cargo fmt --all

lint:
	@cargo fmt --all --check && cargo clippy --workspace --all-targets --locked -- -D warnings
