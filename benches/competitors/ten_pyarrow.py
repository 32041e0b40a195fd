"""Ten rows over HTTP to Parquet with httpx, orjson and pyarrow."""

import sys

import httpx
import orjson
import pyarrow as pa
import pyarrow.parquet as pq


def main(url, out):
    items = orjson.loads(httpx.get(url).raise_for_status().content)["data"]["items"]
    pq.write_table(pa.Table.from_pylist(items), out)


main(*sys.argv[1:])
