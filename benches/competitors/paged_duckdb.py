"""Paged JSON to Parquet with DuckDB: the pages are fetched into files, which DuckDB reads in one statement."""

import pathlib
import sys
import tempfile

import duckdb
from fetch import pages


def main(url, out):
    with tempfile.TemporaryDirectory() as folder:
        for number, body in enumerate(pages(url)):
            pathlib.Path(folder, f"{number:06}.json").write_bytes(body)
        duckdb.execute(
            f"""
            copy (
                select unnest(data.items, max_depth := 2)
                from read_json('{folder}/*.json', format = 'unstructured', maximum_object_size = 100000000)
            ) to '{out}' (format parquet, compression zstd)
            """
        )


main(*sys.argv[1:])
