#!/usr/bin/env bash
# Runs every test there is, after installing what they need.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/test-setup.sh
cargo test --workspace --locked
cargo run --quiet --locked -p xtask -- tidy
cargo run --quiet --locked -p xtask -- docs --check
