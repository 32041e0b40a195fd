"""CSV to Parquet with DuckDB in one statement. From HTTP the bytes are piped in by curl, while they arrive."""

import subprocess
import sys

import duckdb


def main(source, out):
    curl = None
    if source.startswith("http"):
        curl = subprocess.Popen(["curl", "-sSf", source], stdout=subprocess.PIPE)
        source = f"/dev/fd/{curl.stdout.fileno()}"
    duckdb.execute("set memory_limit = '512MB'; set preserve_insertion_order = false")
    duckdb.execute(f"copy (from read_csv('{source}', header = true)) to '{out}' (format parquet, compression zstd, compression_level 1)")
    if curl and curl.wait():
        sys.exit("curl failed")


main(*sys.argv[1:])
