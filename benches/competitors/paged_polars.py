"""Paged JSON to Parquet with Polars: pages are fetched ahead in a thread, decoded by Polars, written in row groups."""

import io
import sys

import polars as pl
import pyarrow.parquet as pq
from fetch import ahead

PAGES_PER_GROUP = 20


def rows(body, schema):
    page = pl.read_json(io.BytesIO(body), schema=schema)
    return page.select(pl.col("data").struct.field("items").explode()).unnest("items"), page.schema


def main(url, out):
    schema, writer, group = None, None, []

    def flush():
        nonlocal writer
        table = pl.concat(group, rechunk=False).to_arrow()
        writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
        writer.write_table(table)
        group.clear()

    for body in ahead(url):
        if schema is None:
            frame, schema = rows(body, None)
            # The last page's cursor is null where the others have a text.
            schema = dict(schema)
            schema["meta"] = pl.Struct({"next_cursor": pl.String})
        else:
            frame, _ = rows(body, schema)
        group.append(frame)
        if len(group) == PAGES_PER_GROUP:
            flush()
    if group:
        flush()
    writer.close()


main(*sys.argv[1:])
