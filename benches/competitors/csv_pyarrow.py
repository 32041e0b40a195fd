"""CSV to Parquet with pyarrow: a streaming reader and writer. From HTTP the bytes are decoded while they arrive."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq


def main(source, out):
    curl = None
    if source.startswith("http"):
        curl = subprocess.Popen(["curl", "-sSf", source], stdout=subprocess.PIPE)
        source = pa.PythonFile(curl.stdout, mode="r")
    parse = pc.ParseOptions(newlines_in_values=True)
    with pc.open_csv(source, pc.ReadOptions(block_size=8 << 20), parse) as reader:
        with pq.ParquetWriter(out, reader.schema, compression="zstd", compression_level=1) as writer:
            for batch in reader:
                writer.write_batch(batch)
    if curl and curl.wait():
        sys.exit("curl failed")


main(*sys.argv[1:])
