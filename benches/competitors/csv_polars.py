"""CSV to Parquet with Polars: streaming scan and sink. From HTTP Polars has to have the file first, so it is fetched."""

import sys
import tempfile

import httpx
import polars as pl


def main(source, out):
    with tempfile.NamedTemporaryFile(suffix=".csv") as local:
        if source.startswith("http"):
            with httpx.stream("GET", source) as response:
                response.raise_for_status()
                for chunk in response.iter_raw(1 << 20):
                    local.write(chunk)
            local.flush()
            source = local.name
        pl.scan_csv(source, try_parse_dates=True).sink_parquet(out, compression="zstd", compression_level=1)


main(*sys.argv[1:])
