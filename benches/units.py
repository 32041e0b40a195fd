"""A million work units: planning over a ledger that has nine tenths of them done, and recording what is left.

`dil` is beside the plainest program over SQLite that reads and writes the same: one look-up for each unit, and for each one
that is left a transaction that says it runs and one that says it is done. It reads no configuration, plans no intervals, runs
nothing, and keeps all names in memory.
"""

import json
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

import measure

FLOW = """flow: units
vars: {{ max: 0 }}
stages:
  ids: {{ read: {{ files: {{ path: ids.ndjson }}, format: ndjson }} }}
  work:
    units:
      each: {{ rows_of: ids, fields: [id] }}
      time: {{ from: 2020-01-01, to: {to}, every: day }}
      max: "${{max}}"
    read: {{ files: {{ path: none.ndjson }}, format: ndjson }}
    write: {{ files: {{ path: out, format: jsonl }} }}
"""

DAY = 86_400_000_000


def prepare(folder, dil, values, days):
    """A ledger in which all units are planned, 90 % of them done and 1 % failed, and the plain program's own."""
    numbers = list(range(values))
    random.Random(1).shuffle(numbers)
    (folder / "ids.ndjson").write_text("".join(json.dumps({"id": number}) + "\n" for number in numbers))
    (folder / "none.ndjson").write_text("")
    last = time.strftime("%Y-%m-%d", time.gmtime(1_577_836_800 + days * 86_400))
    (folder / "flow.yaml").write_text(FLOW.format(to=last))
    subprocess.run([dil, "run", "--var", "max=1"], cwd=folder, check=True, capture_output=True)
    ledger = sqlite3.connect(folder / ".dil" / "ledger.sqlite")
    names = [name for (name,) in ledger.execute("SELECT signature FROM unit WHERE stage = 'work' AND state = 'planned' ORDER BY signature")]
    chosen = random.Random(2)
    chosen.shuffle(names)
    done, failed = names[: len(names) * 9 // 10], names[len(names) * 9 // 10 :][: len(names) // 100]
    ledger.execute("CREATE TEMP TABLE chosen (signature TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID")
    ledger.executemany("INSERT INTO chosen VALUES (?, 'done')", ((name,) for name in done))
    ledger.executemany("INSERT INTO chosen VALUES (?, 'failed')", ((name,) for name in failed))
    ledger.execute(
        "UPDATE unit SET state = chosen.state, attempts = 1, done_before = chosen.state = 'done',"
        f" recorded_high = CASE WHEN chosen.state = 'done' THEN low + {DAY} END"
        " FROM chosen WHERE chosen.signature = unit.signature AND stage = 'work'"
    )
    ledger.commit()
    ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    plain = sqlite3.connect(folder / "plain.sqlite")
    plain.execute("PRAGMA journal_mode = WAL")
    plain.execute("CREATE TABLE unit (signature TEXT PRIMARY KEY, state TEXT, high INTEGER, run TEXT) WITHOUT ROWID")
    plain.executemany("INSERT INTO unit VALUES (?, 'done', 1, 'r')", ((name,) for name in done))
    plain.executemany("INSERT INTO unit VALUES (?, 'failed', NULL, 'r')", ((name,) for name in failed))
    plain.commit()


def plain(values, days, records):
    """The plain program."""
    ledger = sqlite3.connect("plain.sqlite", isolation_level=None)
    ledger.execute("PRAGMA synchronous = NORMAL")
    lows = [time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(1_577_836_800 + day * 86_400)) for day in range(days)]
    left = []
    for low in lows:
        for number in range(values):
            name = f"id={number},time={low}"
            found = ledger.execute("SELECT state, high FROM unit WHERE signature = ?", (name,)).fetchone()
            if found is None or found[0] != "done":
                left.append(name)
    print(len(left), "units left", flush=True)
    if records:
        for name in left:
            ledger.execute("INSERT INTO unit VALUES (?, 'running', NULL, 'r') ON CONFLICT (signature) DO UPDATE SET state = 'running'", (name,))
            ledger.execute("UPDATE unit SET state = 'done', high = 1 WHERE signature = ?", (name,))


def first_line(command, folder):
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
    process.stdout.readline()
    seconds = time.perf_counter() - start
    process.stdout.read()
    process.wait()
    return seconds


def bench(dil, values, days):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dil-bench-units-"))
    try:
        print(f"\nunits: {values * days:,} units, 90 % done, 1 % failed; seconds and memory (one round)", flush=True)
        prepare(folder, dil, values, days)
        ours = [dil, "plan", "--var", f"max={values * days}"]
        theirs = [sys.executable, __file__, "plain", str(values), str(days)]
        steps = {
            "planning": (ours, theirs),
            "planning and recording what is left": ([dil, "run", "--var", f"max={values * days}"], [*theirs, "records"]),
        }
        for name, commands in steps.items():
            for contender, command in zip(("dil", "plain SQLite program"), commands):
                if contender == "dil" and name == "planning":
                    print(f"  {'first line of dil plan':60}{first_line(command, folder):9.3f}", flush=True)
                taken = measure.run(command, cwd=folder)
                print(f"  {name + ', ' + contender:60}{taken.seconds:9.3f}{taken.peak_bytes / 1e6:11.1f}", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__" and sys.argv[1:2] == ["plain"]:
    plain(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ["records"])
