//! Units: attempts, checkpoints, staged manifests, failures.

use dil_model::Result;
use dil_model::manifest::{Output, StagedFile};
use dil_model::schema::StoredSchema;
use dil_model::unit::{Counts, Position};
use dil_plan::History;
use jiff::Timestamp;

use super::db::{Dialect, Fault, Param, Row, Session, Sql, params};
use super::run::{instant, now_microseconds, unreadable};
use super::{LeaseGuard, Ledger, ONE_UNIT, PublishedUnit, StageKey, Synced, UnitKey, join, low_of};

/// What an earlier attempt at the same work left.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leftover {
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) manifest: Option<Recorded>,
}

/// Where an attempt begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BeginAt {
    /// Where an earlier attempt stood, if its checkpoint can be used.
    Checkpoint,
    /// At the unit's start.
    Start,
}

/// A stage's schemas: of the rows as read, and as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Schemas {
    pub(crate) read: Option<StoredSchema>,
    pub(crate) written: Option<StoredSchema>,
}

/// How far a unit got, and the schemas that its staged files have.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    pub(crate) schemas: Schemas,
}

/// A unit that is staged and waits for its publication.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Recorded {
    pub(crate) files: Vec<StagedFile>,
    pub(crate) counts: Counts,
    pub(crate) schemas: Schemas,
    /// The greatest key of its rows, if keys are looked at.
    #[serde(default)]
    pub(crate) greatest: Option<serde_json::Value>,
    /// How long the try took.
    #[serde(default)]
    pub(crate) milliseconds: u64,
}

impl Ledger {
    /// What is known of some units, in the order of their names. `run` is the one that asks.
    pub(crate) fn histories(
        &self,
        stage: StageKey<'_>,
        run: &str,
        signatures: &[String],
    ) -> Result<Vec<Option<History>>> {
        let normal = StageKey { backfill: "", ..stage };
        // One view of the ledger for all of them, opened once.
        self.snapshot(|session| {
            let mut histories = vec![None; signatures.len()];
            look_up(session, stage, signatures, |index, row| {
                histories[index] = known(row, run)?;
                Ok(())
            })?;
            if stage.backfill.is_empty() {
                return Ok(histories);
            }
            look_up(session, normal, signatures, |index, row| {
                let published = known(row, run)?.unwrap_or_default();
                let own = histories[index].take().unwrap_or_default();
                let (published_high, published_key) = (published.recorded_high, published.recorded_key);
                histories[index] = Some(History { published_high, published_key, ..own });
                Ok(())
            })?;
            Ok(histories.into_iter().map(|history| Some(history.unwrap_or_default())).collect())
        })
    }

    /// The greatest recorded high of a stage, and whether anything of it was ever recorded.
    pub(crate) fn stage_progress(&self, stage: StageKey<'_>) -> Result<(Option<Timestamp>, bool)> {
        let (high, done): (Option<i64>, bool) = self.read(|session| {
            session.one(
                "SELECT max(recorded_high), coalesce(max(done_before), 0) FROM unit
                 WHERE flow = ?1 AND stage = ?2 AND backfill = ?3",
                &params![stage.flow, stage.stage, stage.backfill],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })?;
        Ok((high.map(instant).transpose()?, done))
    }

    /// Begins an attempt; gives its number, and what an earlier attempt at the same `work` left.
    ///
    /// `work` names all that the attempt's result depends on; whatever was left for other work is forgotten, and so is a
    /// position of another run: what it points into may be gone, or hold other rows by now.
    pub(crate) fn begin_attempt(
        &self,
        lease: &LeaseGuard,
        unit: UnitKey<'_>,
        run: &str,
        (work, begin): (&str, BeginAt),
    ) -> Result<(u64, Leftover)> {
        let (attempt, position, manifest) = self.write(lease, "unit.begin", Synced::Later, |session| {
            let checkpoint = begin == BeginAt::Checkpoint;
            let upsert = "INSERT INTO unit (flow, stage, backfill, low, signature, state, attempts, run, updated, work)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'running', 1, ?6, ?7, ?8)
                 ON CONFLICT (flow, stage, backfill, low, signature) DO UPDATE SET
                     state = CASE WHEN unit.manifest IS NOT NULL AND unit.work = ?8 THEN 'staged' ELSE 'running' END,
                     position = CASE WHEN unit.work = ?8 AND unit.run = ?6 AND ?9 = 1 THEN unit.position END,
                     manifest = CASE WHEN unit.work = ?8 THEN unit.manifest END,
                     attempts = unit.attempts + 1, run = ?6, updated = ?7, work = ?8";
            let begun = unit.with(&params![run, now_microseconds(), work, checkpoint]);
            let left =
                |row: &Row<'_>| Ok((row.get(0)?, row.get::<Option<String>>(1)?, row.get::<Option<String>>(2)?));
            if session.dialect() == Dialect::MySql {
                session.execute(upsert, &begun)?;
                let query = format!("SELECT attempts, position, manifest FROM unit WHERE {ONE_UNIT}");
                return session.one(&query, &unit.with(&[]), left);
            }
            session.one(&format!("{upsert} RETURNING attempts, position, manifest"), &begun, left)
        })?;
        let checkpoint =
            position.map(|text| serde_json::from_str(&text).map_err(|_| unreadable("a position")));
        let manifest = manifest.map(|text| serde_json::from_str(&text).map_err(|_| unreadable("a manifest")));
        Ok((attempt, Leftover { checkpoint: checkpoint.transpose()?, manifest: manifest.transpose()? }))
    }

    /// Saves a checkpoint of the attempt; refused if another attempt has begun since.
    pub(crate) fn checkpoint(
        &self,
        lease: &LeaseGuard,
        unit: UnitKey<'_>,
        attempt: u64,
        checkpoint: &Checkpoint,
    ) -> Result<bool> {
        let text = serde_json::to_string(checkpoint).map_err(|_| unreadable("a position"))?;
        self.write(lease, "unit.checkpoint", Synced::Now, |session| {
            let statement = format!(
                "UPDATE unit SET position = ?7, updated = ?8 WHERE {ONE_UNIT} AND attempts = ?6 AND state = 'running'"
            );
            Ok(session.execute(&statement, &unit.with(&params![attempt, text, now_microseconds()]))? == 1)
        })
    }

    /// Keeps what a unit staged until the whole stage can be published.
    pub(crate) fn stage_unit(
        &self,
        lease: &LeaseGuard,
        unit: UnitKey<'_>,
        recorded: &Recorded,
    ) -> Result<()> {
        let text = serde_json::to_string(recorded).map_err(|_| unreadable("a manifest"))?;
        self.write(lease, "unit.stage", Synced::Now, |session| {
            let statement = format!(
                "UPDATE unit SET state = 'staged', manifest = ?6, position = NULL, error = NULL, updated = ?7
                 WHERE {ONE_UNIT}"
            );
            session.execute(&statement, &unit.with(&params![text, now_microseconds()])).map(|_| ())
        })
    }

    /// Notes that a unit failed. Its checkpoint stays.
    pub(crate) fn fail_unit(
        &self,
        lease: &LeaseGuard,
        unit: UnitKey<'_>,
        error: &dil_model::Error,
    ) -> Result<()> {
        let text = serde_json::to_string(error).map_err(|_| unreadable("an error"))?;
        self.write(lease, "unit.fail", Synced::Later, |session| {
            let statement =
                format!("UPDATE unit SET state = 'failed', error = ?6, updated = ?7 WHERE {ONE_UNIT}");
            session.execute(&statement, &unit.with(&params![text, now_microseconds()])).map(|_| ())
        })
    }

    /// Every staged file of this flow that a checkpoint, a waiting manifest or a prepared publication names.
    pub(crate) fn live_staged(&self, flow: &str) -> Result<Vec<String>> {
        let texts: Vec<(Option<String>, Option<String>)> = self.read(|session| {
            session.all(
                "SELECT position, manifest FROM unit
                 WHERE flow = ?1 AND (position IS NOT NULL OR manifest IS NOT NULL)",
                &params![flow],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })?;
        let mut live = Vec::new();
        for (_, publication) in self.prepared(flow)? {
            let files = publication.units.into_iter().flat_map(|unit| unit.files);
            for file in files {
                // Some of them may be in the fresh folder already.
                live.extend(publication.swap.as_ref().map(|swap| join(&swap.fresh, &file.name)));
                live.push(file.staged);
            }
        }
        for (position, manifest) in texts {
            if let Some(text) = position {
                let checkpoint: Checkpoint =
                    serde_json::from_str(&text).map_err(|_| unreadable("a position"))?;
                live.extend(checkpoint.position.files.into_iter().map(|file| file.staged));
            }
            if let Some(text) = manifest {
                let manifest: Recorded = serde_json::from_str(&text).map_err(|_| unreadable("a manifest"))?;
                live.extend(manifest.files.into_iter().map(|file| file.staged));
            }
        }
        Ok(live)
    }

    /// The published files of a stage (of one unit, if it is named).
    pub(crate) fn published(
        &self,
        flow: &str,
        stage: &str,
        signature: Option<&str>,
        output: Output,
    ) -> Result<Vec<String>> {
        let query = match signature {
            Some(_) => {
                "SELECT path FROM file WHERE flow = ?1 AND stage = ?2 AND output = ?3 AND signature = ?4 ORDER BY path"
            }
            None => "SELECT path FROM file WHERE flow = ?1 AND stage = ?2 AND output = ?3 ORDER BY path",
        };
        let all = params![flow, stage, output_name(output), signature];
        let count = if signature.is_some() { 4 } else { 3 };
        self.read(|session| session.all(query, all.get(..count).unwrap_or_default(), |row| row.get(0)))
    }

    /// Whether this is the path of a file that this ledger published.
    pub(crate) fn is_published(&self, path: &str) -> Result<bool> {
        self.read(|session| {
            let query = "SELECT 1 FROM file WHERE path = ?1";
            Ok(session.first(query, &params![path], |_| Ok(()))?.is_some())
        })
    }

    /// The newest run in which the stage's rows were kept to the end, and when it started.
    pub(crate) fn latest_rows(&self, flow: &str, stage: &str) -> Result<Option<(String, String)>> {
        self.read(|session| {
            session.first(
                "SELECT run.run, run.started FROM run JOIN stage_run ON stage_run.run = run.run
                 WHERE run.flow = ?1 AND stage_run.stage = ?2
                 ORDER BY run.started DESC LIMIT 1",
                &params![flow, stage],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })
    }
}

/// What planning asks of an entry.
const KNOWN: &str = "u.recorded_high, u.done_before, u.recorded_at, u.version, u.state, u.updated, u.done_run, u.recorded_key, \
     CASE WHEN u.\"each\" IS NULL THEN 0 ELSE 1 END";

/// What planning is told of an entry; nothing if it was forgotten.
fn known(row: &Row<'_>, run: &str) -> Sql<Option<History>> {
    let state = row.text(4)?.unwrap_or_default();
    if state == "forgotten" {
        return Ok(None);
    }
    Ok(Some(History {
        recorded_high: row.get::<Option<i64>>(0)?.and_then(known_instant),
        recorded_key: row.text(7)?.and_then(|key| serde_json::from_str(key).ok()),
        done_before: row.get(1)?,
        published_high: None,
        published_key: None,
        recorded_at: row.get::<Option<i64>>(2)?.and_then(known_instant),
        version: row.get(3)?,
        failed: state == "failed",
        owing: state != "done",
        kept: state != "done" && row.get(8)?,
        done_now: row.text(6)? == Some(run),
        tried: known_instant(row.get(5)?).filter(|_| state != "planned"),
    }))
}

/// Finds the entries of units, and hands each on with its place among the names.
fn look_up(
    session: &Session<'_>,
    stage: StageKey<'_>,
    signatures: &[String],
    mut visit: impl FnMut(usize, &Row<'_>) -> Sql<()>,
) -> Sql<()> {
    // Servers are asked for all at once, by a list in JSON: each name of it is looked up by key, however large the table.
    const ONE: &str =
        "u.flow = ?1 AND u.stage = ?2 AND u.backfill = ?3 AND u.low = asked.l AND u.signature = asked.s";
    let query = match session.dialect() {
        Dialect::Sqlite => {
            let query = format!("SELECT {KNOWN} FROM unit u WHERE {ONE_UNIT}");
            for (index, signature) in signatures.iter().enumerate() {
                session.first(&query, &stage.unit(signature).with(&[]), |row| visit(index, row))?;
            }
            return Ok(());
        }
        // A statement that was planned while the table was small would go through all of it for each name, but for LIMIT.
        Dialect::Postgres => format!(
            "SELECT found.*, asked.i FROM json_to_recordset(CAST(?4 AS JSON)) AS asked(i BIGINT, l BIGINT, s TEXT)
             CROSS JOIN LATERAL (SELECT {KNOWN} FROM unit u WHERE {ONE} LIMIT 1) AS found"
        ),
        Dialect::MySql => format!(
            "SELECT {KNOWN}, asked.i
             FROM JSON_TABLE(?4, '$[*]' COLUMNS (i BIGINT PATH '$.i', l BIGINT PATH '$.l', s LONGTEXT PATH '$.s')) AS asked
             STRAIGHT_JOIN unit u ON {ONE}"
        ),
    };
    let asked = signatures.iter().enumerate();
    let asked = asked.map(|(i, s)| serde_json::json!({ "i": i, "l": low_of(s), "s": s })).collect::<Vec<_>>();
    let asked = serde_json::Value::Array(asked).to_string();
    session.each(&query, &params![stage.flow, stage.stage, stage.backfill, asked], |row| {
        visit(usize::try_from(row.get::<i64>(9)?).unwrap_or(usize::MAX), row)
    })
}

pub(super) fn output_name(output: Output) -> &'static str {
    match output {
        Output::Write => "write",
        Output::Rows => "rows",
    }
}

/// An instant as it is kept. One that cannot be is none: its unit is read again.
fn known_instant(microseconds: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(microseconds).ok()
}

/// Notes that a unit is recorded.
pub(super) fn record_unit(
    session: &Session<'_>,
    stage: StageKey<'_>,
    (run, as_of): (&str, Option<Timestamp>),
    unit: &PublishedUnit,
) -> Sql<()> {
    let counts = &unit.counts;
    let high = unit.high.map(Timestamp::as_microsecond);
    let as_of = as_of.map(Timestamp::as_microsecond);
    let key = unit.key.as_ref().map(serde_json::Value::to_string);
    let more: [Param<'_>; 10] = params![
        high,
        counts.rows,
        counts.bytes,
        run,
        now_microseconds(),
        as_of,
        unit.version,
        counts.requests.sent,
        key,
        unit.milliseconds,
    ];
    let statement = format!(
        "UPDATE unit SET state = 'done', recorded_high = coalesce(?6, recorded_high), done_before = 1, \"rows\" = ?7,
             bytes = ?8, run = ?9, done_run = ?9, updated = ?10, recorded_at = ?11, version = coalesce(?12, version),
             requests = ?13, recorded_key = coalesce(?14, recorded_key), milliseconds = ?15, error = NULL, work = NULL, position = NULL, manifest = NULL
         WHERE {ONE_UNIT}"
    );
    // Its attempt made the entry.
    match session.execute(&statement, &stage.unit(&unit.signature).with(&more))? {
        0 => Err(Fault::Lost),
        _ => Ok(()),
    }
}
