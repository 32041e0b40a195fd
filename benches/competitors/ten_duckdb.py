"""Ten rows over HTTP to Parquet with httpx and DuckDB."""

import pathlib
import sys
import tempfile

import duckdb
import httpx


def main(url, out):
    with tempfile.TemporaryDirectory() as folder:
        page = pathlib.Path(folder, "page.json")
        page.write_bytes(httpx.get(url).raise_for_status().content)
        duckdb.execute(
            f"copy (select unnest(data.items, max_depth := 2) from read_json('{page}')) to '{out}' (format parquet)"
        )


main(*sys.argv[1:])
