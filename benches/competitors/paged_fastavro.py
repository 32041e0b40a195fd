"""Paged JSON to Avro with httpx, orjson and fastavro on two processes: one fetches and parses, one encodes and writes."""

import multiprocessing
import sys

import fastavro
import orjson
from fetch import pages

ADDRESS = {
    "type": "record",
    "name": "address",
    "fields": [
        {"name": "street", "type": "string"},
        {"name": "city", "type": "string"},
        {"name": "zip", "type": "string"},
        {
            "name": "geo",
            "type": {
                "type": "record",
                "name": "geo",
                "fields": [{"name": "lat", "type": "double"}, {"name": "lon", "type": "double"}],
            },
        },
    ],
}
LINE = {
    "type": "record",
    "name": "line",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "quantity", "type": "long"},
        {"name": "price", "type": "double"},
    ],
}
SCHEMA = {
    "type": "record",
    "name": "row",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": "string"},
        {"name": "active", "type": "boolean"},
        {"name": "score", "type": "double"},
        {"name": "created", "type": "string"},
        {"name": "note", "type": ["null", "string"]},
        {"name": "address", "type": ADDRESS},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "lines", "type": {"type": "array", "items": LINE}},
    ],
}


def child(theirs, ours, out):
    ours.close()

    def rows():
        while True:
            try:
                body = theirs.recv_bytes()
            except EOFError:
                return
            yield from orjson.loads(body)["data"]["items"]

    with open(out, "wb") as file:
        fastavro.writer(file, fastavro.parse_schema(SCHEMA), rows(), codec="deflate", codec_compression_level=1, sync_interval=1 << 20)


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


main(*sys.argv[1:])
