//! The ledger for people: runs, units, stages, and forgetting.

use dil_model::schema::StoredSchema;
use dil_model::{Error, ErrorKind, Interval};
use jiff::Timestamp;
use serde::Serialize;

use super::db::{Param, Row, Sql, params};
use super::run::unreadable;
use super::{Ledger, Place, key_text};

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
    /// The condition and its parameters; what it says of values is asked of the rows found.
    fn condition(&self) -> (String, Vec<Asked<'_>>) {
        let mut condition = "state <> 'forgotten'".to_owned();
        let mut asked = Vec::new();
        let texts = [
            ("flow = ", "", &self.flow),
            ("stage = ", "", &self.stage),
            ("backfill = ", "", &self.backfill),
            ("state = ", "", &self.state),
            ("signature = ", "", &self.signature),
            ("instr(lower(error), lower(", ")) > 0", &self.error),
        ];
        for (before, after, value) in texts {
            if let Some(value) = value {
                asked.push(Asked::Text(value));
                condition.push_str(&format!(" AND {before}?{}{after}", asked.len()));
            }
        }
        if let Some(time) = self.time {
            asked.extend([time.low, time.high].map(|bound| Asked::Instant(bound.as_microsecond())));
            let (low, high) = (asked.len() - 1, asked.len());
            condition.push_str(&format!(
                " AND low >= ?{low} AND low < ?{high} AND signature <> 'all' AND instr(signature, 'time=') > 0"
            ));
        }
        (condition, asked)
    }

    /// Whether the unit of this name has the values.
    fn has_values(&self, signature: &str) -> bool {
        self.values.iter().all(|(name, value)| dil_plan::has_value(signature, name, value))
    }
}

/// A parameter of a filter.
enum Asked<'f> {
    Text(&'f str),
    Instant(i64),
}

impl Asked<'_> {
    fn param(&self) -> Param<'_> {
        match self {
            Self::Text(text) => Param::from(text),
            Self::Instant(at) => Param::from(at),
        }
    }
}

/// A unit's stage, backfill, place and name.
pub(super) type Meant = (String, String, i64, String);

impl Ledger {
    /// The units that a filter means.
    pub(super) fn meant(&self, filter: &UnitFilter) -> dil_model::Result<Vec<Meant>> {
        let (condition, asked) = filter.condition();
        let params: Vec<Param<'_>> = asked.iter().map(Asked::param).collect();
        let query = format!("SELECT stage, backfill, low, signature FROM unit WHERE {condition}");
        let all: Vec<Meant> = self.read(|session| {
            session.all(&query, &params, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        })?;
        Ok(all.into_iter().filter(|(.., signature)| filter.has_values(signature)).collect())
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
    /// Opens a ledger that is there.
    ///
    /// # Errors
    /// `State` if there is none, or it is corrupt.
    pub fn open(place: &Place) -> dil_model::Result<Self> {
        match Ledger::open_existing(place)? {
            Some(ledger) => Ok(Self { ledger }),
            None => Err(Error::new(ErrorKind::State, "state/none", format!("there is no ledger in {place}"))
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
        let mut names: Vec<(String, Option<String>)> = self.ledger.read(|session| {
            let mut names =
                session.all("SELECT DISTINCT flow FROM run", &[], |row| Ok((row.get(0)?, None)))?;
            let stages = "SELECT DISTINCT flow, stage FROM unit";
            names.extend(session.all(stages, &[], |row| Ok((row.get(0)?, row.get(1)?)))?);
            Ok(names)
        })?;
        names.sort_unstable();
        Ok(names)
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// `State`.
    pub fn runs(&self, flow: Option<&str>, limit: u32) -> dil_model::Result<Vec<RunRow>> {
        let of_flow = if flow.is_some() { "flow = ?2" } else { "1 = 1" };
        let query = format!(
            "WITH done AS (
                SELECT done_run AS run, count(*) AS units, CAST(sum(\"rows\") AS INTEGER) AS read_rows FROM unit
                WHERE {of_flow} GROUP BY done_run),
             failed AS (
                SELECT run, count(*) AS units FROM unit WHERE state = 'failed' AND {of_flow} GROUP BY run)
             SELECT run.run, run.flow, run.state, run.started, run.ended, run.error,
                coalesce(done.units, 0), coalesce(failed.units, 0), coalesce(done.read_rows, 0)
             FROM run LEFT JOIN done ON done.run = run.run LEFT JOIN failed ON failed.run = run.run
             WHERE {} ORDER BY run.started DESC LIMIT ?1",
            if flow.is_some() { "run.flow = ?2" } else { "1 = 1" }
        );
        let all = params![limit, flow];
        let count = if flow.is_some() { 2 } else { 1 };
        self.ledger.read(|session| {
            session.all(&query, all.get(..count).unwrap_or_default(), |row| {
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
            })
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
        let (condition, asked) = filter.condition();
        let params: Vec<Param<'_>> = asked.iter().map(Asked::param).collect();
        let mut left = filter.limit.map_or(u64::MAX, u64::from);
        // What a value leaves out does not count for the limit.
        let limit = match filter.limit {
            Some(limit) if filter.values.is_empty() => format!(" LIMIT {limit}"),
            _ => String::new(),
        };
        let query = format!(
            "SELECT flow, stage, signature, state, recorded_high, attempts, \"rows\", bytes,
                (SELECT count(*) FROM file f WHERE f.flow = u.flow AND f.stage = u.stage AND f.signature = u.signature
                 AND f.output = 'write'),
                run, updated, error, backfill, requests, version, recorded_key, milliseconds
             FROM unit u WHERE {condition} ORDER BY flow, stage, backfill, low, signature{limit}"
        );
        let done = self.ledger.each(&query, &params, |row| {
            if left == 0 {
                return Ok(Err(Enough::Limit));
            }
            if !filter.has_values(row.text(2)?.unwrap_or_default()) {
                return Ok(Ok(()));
            }
            left -= 1;
            Ok(visit(unit_row(row)?).map_err(Enough::Refused))
        });
        match done {
            Ok(()) | Err(Enough::Limit) => Ok(()),
            Err(Enough::Refused(error)) => Err(error),
            Err(Enough::Failed(error)) => Err(error.into()),
        }
    }

    /// Stages in the order of flow and name.
    ///
    /// # Errors
    /// `State`.
    pub fn stages(&self, flow: Option<&str>) -> dil_model::Result<Vec<StageRow>> {
        let query = format!(
            "SELECT u.flow, u.stage, CAST(sum(u.done_before) AS INTEGER),
                CAST(sum(CASE WHEN u.state = 'failed' THEN 1 ELSE 0 END) AS INTEGER), max(u.recorded_high),
                (SELECT count(*) FROM file f WHERE f.flow = u.flow AND f.stage = u.stage AND f.output = 'write'),
                (SELECT CAST(coalesce(sum(f.\"rows\"), 0) AS INTEGER) FROM file f WHERE f.flow = u.flow AND f.stage = u.stage
                 AND f.output = 'write'),
                (SELECT spelt FROM stage_schema s WHERE s.flow = u.flow AND s.stage = u.stage AND s.kind = 'read')
             FROM unit u WHERE {} GROUP BY u.flow, u.stage ORDER BY u.flow, u.stage",
            if flow.is_some() { "u.flow = ?1" } else { "1 = 1" }
        );
        let asked: Vec<Param<'_>> = flow.iter().map(Param::from).collect();
        let rows: Vec<(StageRow, Option<String>)> = self.ledger.read(|session| {
            session.all(&query, &asked, |row| {
                let stage = StageRow {
                    flow: row.get(0)?,
                    stage: row.get(1)?,
                    units_done: row.get(2)?,
                    units_failed: row.get(3)?,
                    latest: row.get::<Option<i64>>(4)?.and_then(shown),
                    files: row.get(5)?,
                    rows: row.get(6)?,
                    columns: Vec::new(),
                };
                Ok((stage, row.get(7)?))
            })
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

/// Why units are handed on no more.
enum Enough<E> {
    Limit,
    Refused(E),
    Failed(Error),
}

impl<E> From<Error> for Enough<E> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn unit_row(row: &Row<'_>) -> Sql<UnitRow> {
    Ok(UnitRow {
        flow: row.get(0)?,
        stage: row.get(1)?,
        signature: row.get(2)?,
        state: row.get(3)?,
        recorded_high: row.get::<Option<i64>>(4)?.and_then(shown),
        attempts: row.get(5)?,
        rows: row.get(6)?,
        bytes: row.get(7)?,
        files: row.get(8)?,
        run: row.get(9)?,
        updated: shown(row.get(10)?).unwrap_or_default(),
        error: row.get::<Option<String>>(11)?.map(|text| told(&text)),
        backfill: Some(row.get::<String>(12)?).filter(|name| !name.is_empty()),
        requests: row.get(13)?,
        version: row.get(14)?,
        recorded_key: row
            .get::<Option<String>>(15)?
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
