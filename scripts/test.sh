#!/usr/bin/env bash
# Runs every test there is, after installing what they need.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/test-setup.sh
cargo test --workspace --locked

# What is true of a ledger in a file must be true of one on a server. Left out is what looks into the file itself.
cargo build --quiet --locked -p dil-testkit
for server in postgres mariadb; do
    echo "ledger on $server"
    "${CARGO_TARGET_DIR:-target}/debug/dil-testkit" with-database "$server" cargo test --quiet --locked -p dil --test it -- \
        two_stage unit_rules following backlog fencing kill_sweep \
        --skip older_version --skip every_boundary_in_the_sources
done

cargo run --quiet --locked -p xtask -- tidy
cargo run --quiet --locked -p xtask -- docs --check
