//! The ledger's tables and their version.

use std::path::Path;

use dil_model::boundary::durable;
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::{RESTORE, broken, low_of};

/// What makes a ledger of each version from one of the version before; what was released is never changed. The last one is
/// what this program reads and writes.
const MIGRATIONS: [&str; 2] = [TABLES, PLANNED_ORDER];

/// The version that this program reads and writes.
const VERSION: usize = MIGRATIONS.len();

/// The first version. Times are microseconds since 1970 (UTC) where they are compared, RFC 3339 texts where they are only shown.
const TABLES: &str = "
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
";

/// Units in the order in which they are planned, which reads and writes neighbours together; entries of backfills apart; what
/// planning looks at beside the recorded high; what a unit cost.
const PLANNED_ORDER: &str = "
CREATE TABLE unit_in_order (
    flow TEXT NOT NULL, stage TEXT NOT NULL,
    -- The backfill that it belongs to, or nothing.
    backfill TEXT NOT NULL,
    -- The first instant of its interval, its first key, or 0.
    low INTEGER NOT NULL,
    signature TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'running', 'staged', 'done', 'failed', 'forgotten')),
    -- Up to where it is recorded; what counted as now then; the version of its value that was recorded.
    recorded_high INTEGER, recorded_at INTEGER, version TEXT,
    -- Up to which key it is recorded, as JSON.
    recorded_key TEXT,
    done_before INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    rows INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, requests INTEGER NOT NULL DEFAULT 0,
    -- How long its last recorded try took.
    milliseconds INTEGER NOT NULL DEFAULT 0,
    run TEXT NOT NULL, done_run TEXT, updated INTEGER NOT NULL, error TEXT, each TEXT,
    work TEXT, position TEXT, manifest TEXT,
    PRIMARY KEY (flow, stage, backfill, low, signature)
) WITHOUT ROWID;
INSERT INTO unit_in_order (flow, stage, backfill, low, signature, state, recorded_high, done_before, attempts, rows, bytes,
    run, done_run, updated, error, each, work, position, manifest)
SELECT flow, stage, '', dil_low(signature), signature, state, recorded_high, done_before, attempts, rows, bytes,
    run, done_run, dil_microseconds(updated), error, each, work, position, manifest FROM unit;
DROP TABLE unit;
ALTER TABLE unit_in_order RENAME TO unit;
CREATE INDEX unit_owing ON unit (flow, stage, backfill) WHERE state <> 'done';
ALTER TABLE run ADD COLUMN backfill TEXT NOT NULL DEFAULT '';
";

/// Sets the connection up, makes the tables if there are none, checks the version; gives the ledger's id.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<String> {
    let fail = |cause: rusqlite::Error| broken(path, &cause);
    add_functions(connection).map_err(fail)?;
    match version(connection).map_err(fail)? {
        0 => durable("ledger.create", || create(connection, path))?,
        VERSION => {}
        older if older < VERSION => durable("ledger.migrate", || migrate(connection)).map_err(fail)?,
        other => {
            let message = format!(
                "the ledger {} has version {other}, this program knows version {VERSION}",
                path.display()
            );
            return Err(Error::new(ErrorKind::State, "state/version", message)
                .hint("use the program that wrote it, or a newer one"));
        }
    }
    let id: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = 'id'", [], |row| row.get(0))
        .optional()
        .map_err(fail)?;
    id.ok_or_else(|| {
        Error::new(ErrorKind::State, "state/corrupt", format!("the ledger {} has no id", path.display()))
            .hint(RESTORE)
    })
}

fn create(connection: &mut Connection, path: &Path) -> Result<()> {
    let fail = |cause: rusqlite::Error| broken(path, &cause);
    // SQLite would sync four times to change the mode of a file that holds nothing yet; once after it is enough.
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL;").map_err(fail)?;
    let synced = std::fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|cause| Error::storage("syncing", path, &cause))?;
    // Tables that a power cut takes are made again: nothing counts on them before the first commit that is synced.
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(fail)?;
    migrate(connection).map_err(fail)
}

/// What statements compute of entries.
fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("dil_low", 1, flags, |call| Ok(low_of(&call.get::<String>(0)?)))?;
    connection.create_scalar_function("dil_has_value", 3, flags, |call| {
        let (signature, name, value) =
            (call.get_raw(0).as_str()?, call.get_raw(1).as_str()?, call.get_raw(2).as_str()?);
        Ok(dil_plan::has_value(signature, name, value))
    })?;
    connection.create_scalar_function("dil_microseconds", 1, flags, |call| {
        let at: Option<Timestamp> = call.get::<String>(0)?.parse().ok();
        Ok(at.map_or(0, Timestamp::as_microsecond))
    })
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings the tables to this program's version, in one transaction.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    let version = version(&transaction)?;
    for migration in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(migration)?;
    }
    if version == 0 {
        let id = format!("{:016x}", rand::random::<u64>());
        transaction.execute("INSERT INTO meta VALUES ('id', ?1)", [id])?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}
