-- The tables of the first version, as they were released.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Who may run a flow. The epoch grows with every taker and outlives the holder.
CREATE TABLE lease (
    flow TEXT PRIMARY KEY, epoch INTEGER NOT NULL, holder TEXT NOT NULL, expires_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE run (
    run TEXT PRIMARY KEY, flow TEXT NOT NULL, fingerprint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'stopped', 'succeeded', 'failed', 'abandoned')),
    as_of INTEGER NOT NULL, started TEXT NOT NULL, ended TEXT, error TEXT
);
CREATE INDEX run_by_flow ON run (flow, started);

-- Stages that are over in a run, so that a resumed run does not begin them again.
CREATE TABLE stage_run (run TEXT NOT NULL, stage TEXT NOT NULL, PRIMARY KEY (run, stage)) WITHOUT ROWID;

-- A stage's schema: of the rows as read, and as written.
CREATE TABLE stage_schema (
    flow TEXT NOT NULL, stage TEXT NOT NULL, kind TEXT NOT NULL, spelt TEXT NOT NULL,
    PRIMARY KEY (flow, stage, kind)
) WITHOUT ROWID;

-- How a stage is divided into units; another division would give all of them other names.
CREATE TABLE stage_division (
    flow TEXT NOT NULL, stage TEXT NOT NULL, spelt TEXT NOT NULL, PRIMARY KEY (flow, stage)
) WITHOUT ROWID;

-- Runs whose kept rows are in the backlog of a stage.
CREATE TABLE planned_rows (
    flow TEXT NOT NULL, stage TEXT NOT NULL, run TEXT NOT NULL, PRIMARY KEY (flow, stage, run)
) WITHOUT ROWID;

-- One row for each unit that was ever begun, or planned from a row of another stage. A forgotten one keeps its count of attempts, which names its files.
CREATE TABLE unit (
    flow TEXT NOT NULL, stage TEXT NOT NULL, signature TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'running', 'staged', 'done', 'failed', 'forgotten')),
    recorded_high INTEGER, done_before INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    rows INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    run TEXT NOT NULL, updated TEXT NOT NULL, error TEXT,
    -- What an unfinished attempt left: the work it was about, and its checkpoint or manifest.
    work TEXT, position TEXT, manifest TEXT,
    -- The run in which it was last recorded.
    done_run TEXT,
    -- The values it is made of, where they come from another stage.
    each TEXT,
    PRIMARY KEY (flow, stage, signature)
) WITHOUT ROWID;
CREATE INDEX unit_by_state ON unit (flow, stage, state);

-- Published files and whose they are.
CREATE TABLE file (
    flow TEXT NOT NULL, stage TEXT NOT NULL, signature TEXT NOT NULL, output TEXT NOT NULL, run TEXT NOT NULL,
    path TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (path)
) WITHOUT ROWID;
CREATE INDEX file_by_unit ON file (flow, stage, signature, output);

-- The journal of publications.
CREATE TABLE publication (
    id INTEGER PRIMARY KEY AUTOINCREMENT, flow TEXT NOT NULL, stage TEXT NOT NULL, run TEXT NOT NULL, epoch INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('prepared', 'recorded', 'cancelled')), body TEXT NOT NULL
);
CREATE INDEX publication_open ON publication (flow) WHERE state = 'prepared';

-- Folders in which this ledger may have staged something.
CREATE TABLE staging (flow TEXT NOT NULL, folder TEXT NOT NULL, PRIMARY KEY (flow, folder)) WITHOUT ROWID;
