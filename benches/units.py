"""A million work units: planning over a ledger that has nine tenths of them done, and recording what is left.

`dil` is beside the plainest program over the same database that reads and writes the same: it looks all units up (each by itself
in SQLite, a thousand at once on a server), and makes two transactions for each one that is left: one that says it runs, and one
that says it is done. It reads no configuration, plans no intervals, runs nothing, and keeps all names in memory.

The servers are the testkit's, which do not wait for the disk: what is measured is how often and how much they are asked.
"""

import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse

import measure

FLOW = """flow: units
vars: {{ max: 0 }}
stages:
  ids: {{ read: {{ files: {{ path: ids.ndjson }} }} }}
  work:
    units:
      each: {{ rows_of: ids, fields: [id] }}
      time: {{ from: 2020-01-01, to: {to}, every: day }}
      max: "${{max}}"
    read: {{ files: {{ path: none.ndjson }} }}
    write: {{ files: {{ path: out, format: jsonl }} }}
"""

DAY = 86_400_000_000
START = 1_577_836_800
AT_ONCE = 1000


class Sqlite:
    name = "SQLite"

    def __init__(self, file):
        self.db = sqlite3.connect(file, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")

    def run(self, statement, *values):
        return self.db.execute(statement.replace("%s", "?"), values)

    def fill(self, table, rows):
        self.db.execute("BEGIN")
        self.db.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)
        self.db.execute("COMMIT")

    def states(self, names):
        for name in names:
            found = self.db.execute("SELECT state, high FROM plain WHERE signature = ?", (name,)).fetchone()
            yield name, found and found[0]

    UPSERT = "INSERT INTO plain VALUES (%s, 'running', NULL, 'r') ON CONFLICT (signature) DO UPDATE SET state = 'running'"
    MARK = (
        f"UPDATE unit SET state = chosen.state, attempts = 1, done_before = chosen.state = 'done',"
        f" recorded_high = CASE WHEN chosen.state = 'done' THEN low + {DAY} END"
        " FROM chosen WHERE chosen.signature = unit.signature AND stage = 'work'"
    )


class Postgres(Sqlite):
    name = "PostgreSQL"
    MARK = Sqlite.MARK.replace("= chosen.state = 'done'", "= CASE chosen.state WHEN 'done' THEN 1 ELSE 0 END")

    def __init__(self, url):
        import psycopg

        self.db = psycopg.connect(url, autocommit=True, options="-c search_path=dil")

    def run(self, statement, *values):
        return self.db.execute(statement, values)

    def fill(self, table, rows):
        with self.db.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def states(self, names):
        for at in range(0, len(names), AT_ONCE):
            some = names[at : at + AT_ONCE]
            found = dict(self.db.execute("SELECT signature, state FROM plain WHERE signature = ANY(%s)", (some,)).fetchall())
            yield from ((name, found.get(name)) for name in some)


class MariaDb(Sqlite):
    name = "MariaDB"
    UPSERT = "INSERT INTO plain VALUES (%s, 'running', NULL, 'r') ON DUPLICATE KEY UPDATE state = 'running'"
    MARK = (
        "UPDATE unit JOIN chosen ON unit.signature = chosen.signature SET unit.attempts = 1,"
        f" done_before = chosen.state = 'done', recorded_high = CASE WHEN chosen.state = 'done' THEN low + {DAY} END,"
        " unit.state = chosen.state WHERE stage = 'work'"
    )

    def __init__(self, url):
        import pymysql

        url = urllib.parse.urlsplit(url)
        self.db = pymysql.connect(
            host=url.hostname, port=url.port, user=url.username, password=url.password, database=url.path[1:], autocommit=True
        )

    def run(self, statement, *values):
        cursor = self.db.cursor()
        cursor.execute(statement, values)
        return cursor

    def fill(self, table, rows):
        places = ",".join(["%s"] * len(rows[0]))
        self.db.begin()
        self.db.cursor().executemany(f"INSERT INTO {table} VALUES ({places})", rows)
        self.db.commit()

    def states(self, names):
        for at in range(0, len(names), AT_ONCE):
            some = names[at : at + AT_ONCE]
            cursor = self.db.cursor()
            cursor.execute(f"SELECT signature, state FROM plain WHERE signature IN ({','.join(['%s'] * len(some))})", some)
            found = dict(cursor.fetchall())
            yield from ((name, found.get(name)) for name in some)


SERVERS = {"postgres": Postgres, "mariadb": MariaDb}


def prepare(dil, make, values, days):
    """A ledger in which all units are planned, 90 % of them done and 1 % failed, and the plain program's own table."""
    numbers = list(range(values))
    random.Random(1).shuffle(numbers)
    pathlib.Path("ids.ndjson").write_text("".join(json.dumps({"id": number}) + "\n" for number in numbers))
    pathlib.Path("none.ndjson").write_text("")
    last = time.strftime("%Y-%m-%d", time.gmtime(START + days * 86_400))
    pathlib.Path("flow.yaml").write_text(FLOW.format(to=last))
    subprocess.run([dil, "run", "--var", "max=1"], check=True, capture_output=True)
    store = make()
    names = [name for (name,) in store.run("SELECT signature FROM unit WHERE stage = 'work' AND state = 'planned'").fetchall()]
    names.sort()
    random.Random(2).shuffle(names)
    done, rest = names[: len(names) * 9 // 10], names[len(names) * 9 // 10 :]
    chosen = [(name, "done") for name in done] + [(name, "failed") for name in rest[: len(names) // 100]]
    # As wide and compared as `unit` does.
    key = "VARCHAR(500) COLLATE utf8mb4_bin" if isinstance(store, MariaDb) else "TEXT"
    store.run(f"CREATE TABLE chosen (signature {key} PRIMARY KEY, state VARCHAR(10))")
    store.run(f"CREATE TABLE plain (signature {key} PRIMARY KEY, state VARCHAR(10), high BIGINT, run VARCHAR(10))")
    store.fill("chosen", chosen)
    store.run(store.MARK)
    store.run("DROP TABLE chosen")
    store.fill("plain", [(name, state, 1 if state == "done" else None, "r") for name, state in chosen])
    if isinstance(store, Postgres):
        store.run("VACUUM ANALYZE")
    elif not isinstance(store, MariaDb):
        store.run("PRAGMA wal_checkpoint(TRUNCATE)")


def plain(store, values, days, records):
    """The plain program."""
    lows = [time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(START + day * 86_400)) for day in range(days)]
    names = [f"id={number},time={low}" for low in lows for number in range(values)]
    left = [name for name, state in store.states(names) if state != "done"]
    print(len(left), "units left", flush=True)
    if records:
        for name in left:
            store.run(store.UPSERT, name)
            store.run("UPDATE plain SET state = 'done', high = 1 WHERE signature = %s", name)


def first_line(command):
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    process.stdout.readline()
    seconds = time.perf_counter() - start
    process.stdout.read()
    process.wait()
    return seconds


def store_of(kind):
    """The database of this process: a file in this folder, or the server that the testkit started."""
    url = os.environ.get("DIL_TEST_LEDGER")
    if kind == "sqlite":
        # The plain program has a table in the same file, which costs it nothing.
        return Sqlite(".dil/ledger.sqlite")
    return SERVERS[kind](url)


def compare(dil, kind, values, days):
    """Both programs over one database."""
    folder = tempfile.mkdtemp(prefix="dil-bench-units-")
    os.chdir(folder)
    os.environ["DIL_STATE"] = f"{folder}/.dil"
    if kind != "sqlite":
        os.environ["DIL_LEDGER"] = os.environ["DIL_TEST_LEDGER"]
    name = SERVERS.get(kind, Sqlite).name
    try:
        print(f"\nunits in {name}: {values * days:,}, 90 % done, 1 % failed; seconds and memory MB (one round)", flush=True)
        prepare(dil, lambda: store_of(kind), values, days)
        everything = ["--var", f"max={values * days}"]
        theirs = [sys.executable, __file__, "plain", kind, str(values), str(days)]
        steps = {
            "planning": ([dil, "plan", *everything], theirs),
            "planning and recording what is left": ([dil, "run", *everything], [*theirs, "records"]),
        }
        for step, commands in steps.items():
            for contender, command in zip(("dil", f"plain {name} program"), commands):
                if contender == "dil" and step == "planning":
                    print(f"  {'first line of dil plan':66}{first_line(command):9.3f}", flush=True)
                taken = measure.run(command, cwd=folder)
                print(f"  {f'{step}, {contender}':66}{taken.seconds:9.3f}{taken.peak_bytes / 1e6:11.1f}", flush=True)
    finally:
        os.chdir("/")
        shutil.rmtree(folder)


def bench(bin_folder, values, days):
    for kind in ("sqlite", *SERVERS):
        command = [sys.executable, __file__, "compare", bin_folder / "dil", kind, str(values), str(days)]
        if kind in SERVERS:
            command = [bin_folder / "dil-testkit", "with-database", kind, *command]
        subprocess.run(command, check=True)


if __name__ == "__main__" and sys.argv[1:2] == ["plain"]:
    plain(store_of(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:] == ["records"])
elif __name__ == "__main__" and sys.argv[1:2] == ["compare"]:
    compare(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
