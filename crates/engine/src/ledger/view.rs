//! The ledger for people: runs, units, stages, and forgetting.

use std::path::Path;

use dil_model::schema::StoredSchema;
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::Serialize;

use super::run::unreadable;
use super::{Ledger, Synced};
use crate::commit;

/// A ledger opened for looking at it.
pub struct LedgerView {
    ledger: Ledger,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    /// Its id.
    pub run: String,
    /// The flow.
    pub flow: String,
    /// `running`, `stopped`, `succeeded`, `failed`, `abandoned`.
    pub state: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Units that were last recorded in it.
    pub units_done: u64,
    /// Units whose last try was in it and failed.
    pub units_failed: u64,
    /// Rows of the units that were last recorded in it.
    pub rows: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Which units to show.
#[derive(Debug, Clone, Default)]
pub struct UnitFilter {
    /// Only of this flow.
    pub flow: Option<String>,
    /// Only of this stage.
    pub stage: Option<String>,
    /// Only in this state: `planned`, `done`, `failed`, `running`, `staged`.
    pub state: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// One unit.
#[derive(Debug, Clone, Serialize)]
pub struct UnitRow {
    /// The flow.
    pub flow: String,
    /// The stage.
    pub stage: String,
    /// The unit's name.
    pub signature: String,
    /// `planned`, `done`, `failed`, `running`, `staged`.
    pub state: String,
    /// Up to where it is recorded, RFC 3339.
    pub recorded_high: Option<String>,
    /// Tries over its whole life.
    pub attempts: u64,
    /// Rows read by the last recorded try.
    pub rows: u64,
    /// Bytes read by it.
    pub bytes: u64,
    /// Files it owns.
    pub files: u64,
    /// The run of its last try.
    pub run: String,
    /// When it last changed.
    pub updated: String,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// One stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageRow {
    /// The flow.
    pub flow: String,
    /// The stage.
    pub stage: String,
    /// Units recorded at least once.
    pub units_done: u64,
    /// Units whose last try failed.
    pub units_failed: u64,
    /// The greatest instant up to which a unit is recorded.
    pub latest: Option<String>,
    /// Files published.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// The schema of the rows as read: names and types.
    pub columns: Vec<(String, String)>,
}

/// What a reset forgot, or would.
#[derive(Debug, Clone, Serialize)]
pub struct ResetReport {
    /// Units, with their watermarks.
    pub units: u64,
    /// Published files; they stay until the units that own them are read again.
    pub files: u64,
    /// Columns of the schema.
    pub columns: u64,
}

impl LedgerView {
    /// Opens the ledger of a state folder.
    ///
    /// # Errors
    /// `State` if there is none, or it is corrupt.
    pub fn open(state_dir: &Path) -> Result<Self> {
        match Ledger::open_existing(state_dir)? {
            Some(ledger) => Ok(Self { ledger }),
            None => Err(Error::new(
                ErrorKind::State,
                "state/none",
                format!("there is no ledger in {}", state_dir.display()),
            )
            .hint("run a flow first, or name its state folder with --state")),
        }
    }

    /// The flows that have run, and the stages of which anything is recorded.
    ///
    /// # Errors
    /// `State`.
    pub fn names(&self) -> Result<Vec<(String, Option<String>)>> {
        self.ledger.read(|connection| {
            connection
                .prepare(
                    "SELECT DISTINCT flow, NULL FROM run UNION SELECT DISTINCT flow, stage FROM unit ORDER BY 1, 2",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// `State`.
    pub fn runs(&self, flow: Option<&str>, limit: u32) -> Result<Vec<RunRow>> {
        self.ledger.read(|connection| {
            connection
                .prepare(
                    "WITH done AS (
                        SELECT done_run AS run, count(*) AS units, sum(rows) AS rows FROM unit
                        WHERE ?1 IS NULL OR flow = ?1 GROUP BY done_run),
                     failed AS (
                        SELECT run, count(*) AS units FROM unit
                        WHERE state = 'failed' AND (?1 IS NULL OR flow = ?1) GROUP BY run)
                     SELECT run, flow, state, started, ended, error,
                        coalesce(done.units, 0), coalesce(failed.units, 0), coalesce(done.rows, 0)
                     FROM run LEFT JOIN done USING (run) LEFT JOIN failed USING (run)
                     WHERE ?1 IS NULL OR flow = ?1 ORDER BY started DESC LIMIT ?2",
                )?
                .query_map(params![flow, limit], |row| {
                    Ok(RunRow {
                        run: row.get(0)?,
                        flow: row.get(1)?,
                        state: row.get(2)?,
                        started: row.get(3)?,
                        ended: row.get(4)?,
                        error: row.get(5)?,
                        units_done: row.get(6)?,
                        units_failed: row.get(7)?,
                        rows: row.get(8)?,
                    })
                })?
                .collect()
        })
    }

    /// Units in the order of flow, stage, interval and name.
    ///
    /// # Errors
    /// `State`.
    pub fn units(&self, filter: &UnitFilter) -> Result<Vec<UnitRow>> {
        self.ledger.read(|connection| {
            connection
                .prepare(
                    "SELECT flow, stage, signature, state, recorded_high, attempts, rows, bytes,
                        (SELECT count(*) FROM file f WHERE f.flow = u.flow AND f.stage = u.stage AND f.signature = u.signature
                         AND f.output = 'write'),
                        run, updated, error
                     FROM unit u
                     WHERE state <> 'forgotten' AND (?1 IS NULL OR flow = ?1) AND (?2 IS NULL OR stage = ?2) AND (?3 IS NULL OR state = ?3)
                     ORDER BY flow, stage, backfill, low, signature LIMIT coalesce(?4, -1)",
                )?
                .query_map(params![filter.flow, filter.stage, filter.state, filter.limit], unit_row)?
                .collect()
        })
    }

    /// Stages in the order of flow and name.
    ///
    /// # Errors
    /// `State`.
    pub fn stages(&self, flow: Option<&str>) -> Result<Vec<StageRow>> {
        let rows = self.ledger.read(|connection| {
            connection
                .prepare(
                    "SELECT u.flow, u.stage, sum(u.done_before), sum(u.state = 'failed'), max(u.recorded_high),
                        (SELECT count(*) FROM file f WHERE f.flow = u.flow AND f.stage = u.stage AND f.output = 'write'),
                        (SELECT coalesce(sum(rows), 0) FROM file f WHERE f.flow = u.flow AND f.stage = u.stage
                         AND f.output = 'write'),
                        (SELECT spelt FROM stage_schema s WHERE s.flow = u.flow AND s.stage = u.stage AND s.kind = 'read')
                     FROM unit u WHERE ?1 IS NULL OR u.flow = ?1 GROUP BY u.flow, u.stage ORDER BY u.flow, u.stage",
                )?
                .query_map([flow], |row| {
                    let stage = StageRow {
                        flow: row.get(0)?,
                        stage: row.get(1)?,
                        units_done: row.get(2)?,
                        units_failed: row.get(3)?,
                        latest: row.get::<_, Option<i64>>(4)?.and_then(shown),
                        files: row.get(5)?,
                        rows: row.get(6)?,
                        columns: Vec::new(),
                    };
                    Ok((stage, row.get::<_, Option<String>>(7)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter()
            .map(|(mut stage, spelt)| {
                if let Some(text) = spelt {
                    let schema: StoredSchema =
                        serde_json::from_str(&text).map_err(|_| unreadable("a schema"))?;
                    stage.columns = schema.0;
                }
                Ok(stage)
            })
            .collect()
    }

    /// Forgets a stage: what is recorded of its units, their watermarks, and its schema, so that all of it is read again.
    /// Published files stay, and whose they are is still known: a unit that is read again replaces its own.
    ///
    /// # Errors
    /// `Lease` while a run of the flow is under way, `State`.
    pub fn reset(&self, flow: &str, stage: &str, dry_run: bool) -> Result<ResetReport> {
        if dry_run {
            return self.forgettable(flow, stage);
        }
        let lease = self.ledger.take_lease(flow, std::time::Duration::from_secs(15))?;
        // A publication that was interrupted would otherwise be finished by the next run, and count as read.
        let recovered = commit::recover(&self.ledger, &lease, flow);
        let report = recovered.and_then(|_| self.forgettable(flow, stage));
        let forgotten = report.and_then(|report| self.ledger.write(&lease, "stage.reset", Synced::Now, |transaction| {
            transaction.execute(
                "UPDATE unit SET state = 'forgotten', recorded_high = NULL, done_before = 0, rows = 0, bytes = 0,
                     error = NULL, work = NULL, position = NULL, manifest = NULL, done_run = NULL
                 WHERE flow = ?1 AND stage = ?2",
                [flow, stage],
            )?;
            transaction.execute(
                "DELETE FROM stage_run WHERE stage = ?2
                 AND run IN (SELECT run FROM run WHERE flow = ?1 AND state IN ('running', 'stopped'))",
                [flow, stage],
            )?;
            for table in ["stage_schema", "stage_division", "planned_rows"] {
                transaction
                    .execute(&format!("DELETE FROM {table} WHERE flow = ?1 AND stage = ?2"), [flow, stage])?;
            }
            Ok(report)
        }));
        self.ledger.release_lease(&lease)?;
        forgotten
    }

    /// What a reset of the stage would forget now.
    fn forgettable(&self, flow: &str, stage: &str) -> Result<ResetReport> {
        let count = |table: &str, which: &str| {
            let query = format!("SELECT count(*) FROM {table} WHERE flow = ?1 AND stage = ?2 AND {which}");
            self.ledger.read(|connection| connection.query_row(&query, [flow, stage], |row| row.get(0)))
        };
        let schema = self.ledger.stage_schema(flow, stage, "read")?;
        Ok(ResetReport {
            units: count("unit", "state <> 'forgotten'")?,
            files: count("file", "output = 'write'")?,
            columns: schema.map_or(0, |schema| schema.0.len() as u64),
        })
    }
}

fn unit_row(row: &Row<'_>) -> rusqlite::Result<UnitRow> {
    Ok(UnitRow {
        flow: row.get(0)?,
        stage: row.get(1)?,
        signature: row.get(2)?,
        state: row.get(3)?,
        recorded_high: row.get::<_, Option<i64>>(4)?.and_then(shown),
        attempts: row.get(5)?,
        rows: row.get(6)?,
        bytes: row.get(7)?,
        files: row.get(8)?,
        run: row.get(9)?,
        updated: shown(row.get(10)?).unwrap_or_default(),
        error: row.get::<_, Option<String>>(11)?.map(|text| told(&text)),
    })
}

fn shown(microseconds: i64) -> Option<String> {
    Timestamp::from_microsecond(microseconds).ok().map(|at| at.to_string())
}

/// An error as it is kept, in one line.
fn told(kept: &str) -> String {
    serde_json::from_str::<Error>(kept).map_or_else(|_| kept.to_owned(), |error| error.to_string())
}
