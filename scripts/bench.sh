#!/usr/bin/env bash
# Measures `dil` beside what users would pick instead, in one run on one machine. Arguments go to benches/run.py:
#   scripts/bench.sh --help
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(scripts/venv.sh bench-venv benches/requirements.txt)
cargo build --profile dist --locked -p dil -p dil-testkit
exec "$folder/bin/python" benches/run.py --bin "${CARGO_TARGET_DIR:-target}/dist" "$@"
