#!/usr/bin/env bash
# Installs what the tests need besides Rust: other implementations that read back what `dil` writes.
# Idempotent. What is missing and cannot be installed is an error: no test is skipped for the lack of it.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(scripts/venv.sh venv tests/requirements.txt)
"$folder/bin/python" - <<'PYTHON'
import backports.zstd, cramjam, duckdb, fastavro, pyarrow.dataset, pyarrow.parquet
print(f"test readers: pyarrow {pyarrow.__version__}, duckdb {duckdb.__version__}, fastavro {fastavro.__version__}")
PYTHON
