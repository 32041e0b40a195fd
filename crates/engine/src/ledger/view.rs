//! The ledger for people: runs, units, stages, and forgetting.

use std::path::Path;

use dil_model::schema::StoredSchema;
use dil_model::{Error, ErrorKind, Interval};
use jiff::Timestamp;
use rusqlite::{Row, ToSql, params};
use serde::Serialize;

use super::run::unreadable;
use super::{Ledger, key_text};

/// A ledger opened for looking at it.
pub struct LedgerView {
    pub(super) ledger: Ledger,
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

/// Which units are meant.
#[derive(Debug, Clone, Default)]
pub struct UnitFilter {
    /// Only of this flow.
    pub flow: Option<String>,
    /// Only of this stage.
    pub stage: Option<String>,
    /// Only of this backfill; an empty text means those of none.
    pub backfill: Option<String>,
    /// Only in this state: `planned`, `done`, `failed`, `running`, `staged`.
    pub state: Option<String>,
    /// Only of this name.
    pub signature: Option<String>,
    /// Only with an interval that begins inside.
    pub time: Option<Interval>,
    /// Only with these values, by field.
    pub values: Vec<(String, String)>,
    /// Only with this text in the error, however it is cased.
    pub error: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

impl UnitFilter {
    /// The condition and its parameters.
    pub(super) fn condition(&self) -> (String, Vec<Box<dyn ToSql>>) {
        let mut condition = "state <> 'forgotten'".to_owned();
        let mut parameters: Vec<Box<dyn ToSql>> = Vec::new();
        let mut and = |text: &str, values: Vec<Box<dyn ToSql>>| {
            condition.push_str(" AND ");
            condition.push_str(text);
            parameters.extend(values);
        };
        let texts = [
            ("flow = ?", &self.flow),
            ("stage = ?", &self.stage),
            ("backfill = ?", &self.backfill),
            ("state = ?", &self.state),
            ("signature = ?", &self.signature),
            ("instr(lower(error), lower(?)) > 0", &self.error),
        ];
        for (text, value) in texts {
            if let Some(value) = value {
                and(text, vec![Box::new(value.clone())]);
            }
        }
        if let Some(time) = self.time {
            let bounds = [time.low, time.high].map(Timestamp::as_microsecond);
            and(
                "low >= ? AND low < ? AND signature <> 'all' AND instr(signature, 'time=') > 0",
                bounds.into_iter().map(|bound| Box::new(bound) as Box<dyn ToSql>).collect(),
            );
        }
        for (name, value) in &self.values {
            and("dil_has_value(signature, ?, ?)", vec![Box::new(name.clone()), Box::new(value.clone())]);
        }
        (condition, parameters)
    }
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
    /// The backfill that it is an entry of, if it is of any.
    pub backfill: Option<String>,
    /// `planned`, `done`, `failed`, `running`, `staged`.
    pub state: String,
    /// Up to where it is recorded, RFC 3339.
    pub recorded_high: Option<String>,
    /// Up to which key it is recorded, if its stage is divided by keys.
    pub recorded_key: Option<String>,
    /// Tries over its whole life.
    pub attempts: u64,
    /// Rows read by the last recorded try.
    pub rows: u64,
    /// Bytes read by it.
    pub bytes: u64,
    /// Requests sent by it.
    pub requests: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// The version of its value that is recorded, if the stage looks at versions.
    pub version: Option<String>,
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

impl LedgerView {
    /// Opens the ledger of a state folder.
    ///
    /// # Errors
    /// `State` if there is none, or it is corrupt.
    pub fn open(state_dir: &Path) -> dil_model::Result<Self> {
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

    /// The ledger itself.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The flows that have run, and the stages of which anything is recorded.
    ///
    /// # Errors
    /// `State`.
    pub fn names(&self) -> dil_model::Result<Vec<(String, Option<String>)>> {
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
    pub fn runs(&self, flow: Option<&str>, limit: u32) -> dil_model::Result<Vec<RunRow>> {
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

    /// Hands on units in the order of flow, stage, interval and name, one by one.
    ///
    /// # Errors
    /// `State`, and what `visit` returns.
    pub fn each_unit<E: From<Error>>(
        &self,
        filter: &UnitFilter,
        mut visit: impl FnMut(UnitRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let (condition, parameters) = filter.condition();
        let limit = filter.limit.map_or(-1, i64::from);
        self.ledger.read(|connection| {
            let mut query = connection.prepare(&format!(
                "SELECT flow, stage, signature, state, recorded_high, attempts, rows, bytes,
                    (SELECT count(*) FROM file f WHERE f.flow = u.flow AND f.stage = u.stage AND f.signature = u.signature
                     AND f.output = 'write'),
                    run, updated, error, backfill, requests, version, recorded_key, milliseconds
                 FROM unit u WHERE {condition} ORDER BY flow, stage, backfill, low, signature LIMIT {limit}"
            ))?;
            let mut rows = query.query(rusqlite::params_from_iter(parameters))?;
            while let Some(row) = rows.next()? {
                if let Err(error) = visit(unit_row(row)?) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })?
    }

    /// Stages in the order of flow and name.
    ///
    /// # Errors
    /// `State`.
    pub fn stages(&self, flow: Option<&str>) -> dil_model::Result<Vec<StageRow>> {
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
        backfill: Some(row.get::<_, String>(12)?).filter(|name| !name.is_empty()),
        requests: row.get(13)?,
        version: row.get(14)?,
        recorded_key: row
            .get::<_, Option<String>>(15)?
            .and_then(|key| serde_json::from_str(&key).ok())
            .map(|key| key_text(&key)),
        milliseconds: row.get(16)?,
    })
}

fn shown(microseconds: i64) -> Option<String> {
    Timestamp::from_microsecond(microseconds).ok().map(|at| at.to_string())
}

/// An error as it is kept, in one line.
fn told(kept: &str) -> String {
    serde_json::from_str::<Error>(kept).map_or_else(|_| kept.to_owned(), |error| error.to_string())
}
