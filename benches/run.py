"""Measures `dil` beside what users would pick instead, in one run on one machine.

Each bench runs every contender in turn, so many rounds, against one server on the same machine, and prints medians. The server is
told apart from the contenders by its process: its memory and time are nobody's. Nothing here passes or fails.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import measure
import units

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass
class Bench:
    name: str
    what: str
    rows: int
    size: int  # bytes read; 0 where speed is not the question
    contenders: dict  # name -> command, made for an output path


def script(name, *arguments):
    return [sys.executable, str(HERE / "competitors" / f"{name}.py"), *map(str, arguments)]


def benches(options, url, csv_rows):
    def dil(flow, **variables):
        def command(out):
            given = {"out": f"{out}/lake", **variables}
            flags = [flag for name, value in given.items() for flag in ("--var", f"{name}={value}")]
            return [str(options.bin / "dil"), "run", str(HERE / "flows" / f"{flow}.yaml"), *flags]

        return command

    def python(name, source):
        return lambda out: script(name, source, f"{out}/file")

    csv = options.cache / options.csv_name
    csv_url = f"{url}/files/{csv.name}"
    paged_rows = options.pages * options.rows
    return [
        Bench("paged-parquet", f"{options.pages} pages of {options.rows} nested rows over HTTP to Parquet", paged_rows, paged_rows * 392, {
            "dil": dil("paged", url=url),
            "Polars": python("paged_polars", f"{url}/pages"),
            "orjson + pyarrow, 2 processes": python("paged_pyarrow", f"{url}/pages"),
            "DuckDB": python("paged_duckdb", f"{url}/pages"),
        }),
        Bench("paged-avro", f"{options.pages} pages of {options.rows} nested rows over HTTP to Avro (deflate)", paged_rows, paged_rows * 392, {
            "dil": dil("paged_avro", url=url),
            "orjson + fastavro, 2 processes": python("paged_fastavro", f"{url}/pages"),
        }),
        Bench("csv-http", "CSV of 20 mixed columns over HTTP to Parquet", csv_rows, options.csv_bytes, {
            "dil": dil("csv_http", url=url, file=csv.name),
            "Polars": python("csv_polars", csv_url),
            "DuckDB": python("csv_duckdb", csv_url),
            "pyarrow": python("csv_pyarrow", csv_url),
        }),
        Bench("csv-file", "the same CSV from a local file", csv_rows, options.csv_bytes, {
            "dil": dil("csv_file", folder=csv.parent, file=csv.name),
            "Polars": python("csv_polars", csv),
            "DuckDB": python("csv_duckdb", csv),
            "pyarrow": python("csv_pyarrow", csv),
        }),
        Bench("start-up", "ten rows over HTTP to Parquet (curl: to a file, as they are)", 10, 0, {
            "dil": dil("ten", url=url),
            "curl": lambda out: ["curl", "-sSf", f"{url}/ten", "-o", f"{out}/file"],
            "DuckDB": python("ten_duckdb", f"{url}/ten"),
            "pyarrow": python("ten_pyarrow", f"{url}/ten"),
        }),
    ]


def once(command, watched):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dil-bench-"))
    try:
        environment = {**os.environ, "DIL_STATE": str(folder / "state"), "PYTHONPATH": str(HERE / "competitors")}
        return measure.run(command(folder), cwd=folder, env=environment, watched=watched)
    finally:
        shutil.rmtree(folder)


def run(bench, rounds):
    print(f"\n{bench.name}: {bench.what}", flush=True)
    taken = {name: [] for name in bench.contenders}
    for _ in range(rounds):
        for name, command in bench.contenders.items():
            watched = once(command, watched=True)
            if bench.size == 0:
                watched.seconds = once(command, watched=False).seconds
            taken[name].append(watched)
    print(f"  {'':32}{'seconds':>9}{'rows/s':>12}{'MB/s':>8}{'memory MB':>11}   dil is")
    ours = statistics.median(m.seconds for m in taken["dil"])
    for name, measurements in taken.items():
        seconds = statistics.median(m.seconds for m in measurements)
        peak = statistics.median(m.peak_bytes for m in measurements) / 1e6
        rate = f"{bench.rows / seconds:,.0f}" if bench.size else ""
        volume = f"{bench.size / seconds / 1e6:,.0f}" if bench.size else ""
        ratio = "" if name == "dil" else f"{seconds / ours:.2f}× as fast"
        print(f"  {name:32}{seconds:9.3f}{rate:>12}{volume:>8}{peak:11.1f}   {ratio}", flush=True)


def csv_file(options):
    """The CSV is made once for each size: its rows are the same for the same size."""
    file, count = options.cache / options.csv_name, options.cache / f"{options.csv_name}.rows"
    if not (file.exists() and count.exists()):
        options.cache.mkdir(parents=True, exist_ok=True)
        command = [options.bin / "dil-testkit", "csv", "--out", file, "--bytes", str(options.csv_bytes)]
        made = subprocess.run(command, check=True, capture_output=True, text=True)
        count.write_text(made.stdout.split()[0])
    return int(count.read_text())


def main():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "dil" / "bench"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="the folder of dil and dil-testkit")
    parser.add_argument("--only", nargs="+", metavar="BENCH", help="paged-parquet, paged-avro, csv-http, csv-file, start-up, units")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender (3); start-up takes ten times as many")
    parser.add_argument("--pages", type=int, default=1000, help="pages of the paged benches (1000)")
    parser.add_argument("--rows", type=int, default=1000, help="rows of a page (1000)")
    parser.add_argument("--csv-bytes", type=int, default=2_000_000_000, help="size of the CSV (2 GB)")
    parser.add_argument("--values", type=int, default=10_000, help="values of the units bench (10,000)")
    parser.add_argument("--days", type=int, default=100, help="days of the units bench (100)")
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME", help="contenders to leave out, by their first word")
    options = parser.parse_args()
    options.cache = cache
    options.csv_name = f"mixed-{options.csv_bytes}.csv"
    names = [*(bench.name for bench in benches(options, "", 0)), "units"]
    wanted = options.only or names
    if unknown := set(wanted) - set(names):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    csv_rows = csv_file(options) if any(name.startswith("csv") for name in wanted) else 0

    command = [options.bin / "dil-testkit", "pages", "--files", cache, "--pages", str(options.pages), "--rows", str(options.rows)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[-1]
        print(f"{os.cpu_count()} cores; medians of {options.rounds} rounds; memory is the sum over a contender's processes")
        for bench in benches(options, url, csv_rows):
            if bench.name not in wanted:
                continue
            bench.contenders = {
                name: command
                for name, command in bench.contenders.items()
                if name == "dil" or name.split()[0] not in options.without
            }
            run(bench, options.rounds * (10 if bench.name == "start-up" else 1))
        if "units" in wanted:
            units.bench(options.bin, options.values, options.days)
    finally:
        server.terminate()
        server.wait()


main()
