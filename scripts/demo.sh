#!/usr/bin/env bash
# Builds `dil` and runs its demonstration: a bundled service, a flow, and two runs into ./demo/.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked -p dil
exec "${CARGO_TARGET_DIR:-target}/release/dil" demo "$@"
