"""Paged JSON to Parquet with httpx, orjson and pyarrow on two processes: one fetches, one decodes and writes."""

import multiprocessing
import sys

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from fetch import pages

PAGES_PER_GROUP = 20


def work(pipe, out):
    writer, group, schema = None, [], None
    while True:
        try:
            body = pipe.recv_bytes()
        except EOFError:
            break
        items = orjson.loads(body)["data"]["items"]
        table = pa.Table.from_pylist(items, schema=schema)
        schema = schema or table.schema
        writer = writer or pq.ParquetWriter(out, schema, compression="zstd")
        group.append(table)
        if len(group) == PAGES_PER_GROUP:
            writer.write_table(pa.concat_tables(group))
            group.clear()
    if group:
        writer.write_table(pa.concat_tables(group))
    writer.close()


def main(url, out):
    context = multiprocessing.get_context("fork")
    theirs, ours = context.Pipe(duplex=False)
    worker = context.Process(target=child, args=(theirs, ours, out))
    worker.start()
    theirs.close()
    try:
        for body in pages(url):
            ours.send_bytes(body)
    finally:
        ours.close()
        worker.join()
    sys.exit(worker.exitcode)


def child(theirs, ours, out):
    ours.close()
    work(theirs, out)


main(*sys.argv[1:])
