//! Units: attempts, checkpoints, staged manifests, failures.

use dil_model::Result;
use dil_model::manifest::{Output, StagedFile};
use dil_model::schema::StoredSchema;
use dil_model::unit::{Counts, Position};
use dil_plan::History;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, ToSql, Transaction, params};

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
        let rows = self.read(|connection| {
            // One view of the ledger for all of them, opened once.
            let view = connection.unchecked_transaction()?;
            let mut query = view.prepare_cached(&format!(
                "SELECT recorded_high, done_before, recorded_at, version, state, updated, done_run, recorded_key FROM unit WHERE {ONE_UNIT}"
            ))?;
            let row = |row: &Row<'_>| {
                let state = row.get_ref(4)?.as_str()?;
                if state == "forgotten" {
                    return Ok(None);
                }
                Ok(Some(History {
                    recorded_high: row.get::<_, Option<i64>>(0)?.and_then(known_instant),
                    recorded_key: row.get_ref(7)?.as_str_or_null()?.and_then(|key| serde_json::from_str(key).ok()),
                    done_before: row.get(1)?,
                    published_high: None,
                    published_key: None,
                    recorded_at: row.get::<_, Option<i64>>(2)?.and_then(known_instant),
                    version: row.get(3)?,
                    failed: state == "failed",
                    owing: state != "done",
                    done_now: row.get_ref(6)?.as_str_or_null()? == Some(run),
                    tried: known_instant(row.get(5)?).filter(|_| state != "planned"),
                }))
            };
            let mut published = view.prepare_cached(&format!(
                "SELECT recorded_high, recorded_key FROM unit WHERE {ONE_UNIT} AND state <> 'forgotten'"
            ))?;
            let mut history = |signature: &String| {
                let low = low_of(signature);
                let key = params![stage.flow, stage.stage, stage.backfill, low, signature];
                let known: Option<History> = query.query_row(key, row).optional()?.flatten();
                if stage.backfill.is_empty() {
                    return Ok(known);
                }
                let normal = params![stage.flow, stage.stage, "", low, signature];
                let normal = published.query_row(normal, |row| {
                    let high = row.get::<_, Option<i64>>(0)?.and_then(known_instant);
                    Ok((high, row.get_ref(1)?.as_str_or_null()?.and_then(|key| serde_json::from_str(key).ok())))
                });
                let (published_high, published_key) = normal.optional()?.unwrap_or_default();
                Ok(Some(History { published_high, published_key, ..known.unwrap_or_default() }))
            };
            signatures.iter().map(&mut history).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(rows)
    }

    /// The greatest recorded high of a stage, and whether anything of it was ever recorded.
    pub(crate) fn stage_progress(&self, stage: StageKey<'_>) -> Result<(Option<Timestamp>, bool)> {
        let (high, done): (Option<i64>, bool) = self.read(|connection| {
            connection.query_row(
                "SELECT max(recorded_high), coalesce(max(done_before), 0) FROM unit
                 WHERE flow = ?1 AND stage = ?2 AND backfill = ?3",
                [stage.flow, stage.stage, stage.backfill],
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
        let (attempt, position, manifest) = self.write(lease, "unit.begin", Synced::Later, |transaction| {
            let low = low_of(unit.signature);
            let checkpoint = begin == BeginAt::Checkpoint;
            transaction
                .prepare_cached(
                    "INSERT INTO unit (flow, stage, backfill, low, signature, state, attempts, run, updated, work)
                     VALUES (?1, ?2, ?3, ?4, ?5, 'running', 1, ?6, ?7, ?8)
                     ON CONFLICT (flow, stage, backfill, low, signature) DO UPDATE SET
                         state = CASE WHEN manifest IS NOT NULL AND work = ?8 THEN 'staged' ELSE 'running' END,
                         attempts = attempts + 1, run = ?6, updated = ?7,
                         position = CASE WHEN work = ?8 AND run = ?6 AND ?9 THEN position END,
                         manifest = CASE WHEN work = ?8 THEN manifest END,
                         work = ?8",
                )?
                .execute(&*unit.with(&low, &[&run, &now_microseconds(), &work, &checkpoint]))?;
            transaction.prepare_cached(&format!("SELECT attempts, position, manifest FROM unit WHERE {ONE_UNIT}"))?.query_row(
                &*unit.with(&low, &[]),
                |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?)),
            )
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
        self.write(lease, "unit.checkpoint", Synced::Now, |transaction| {
            transaction
                .execute(
                    &format!(
                        "UPDATE unit SET position = ?7, updated = ?8 WHERE {ONE_UNIT} AND attempts = ?6 AND state = 'running'"
                    ),
                    &*unit.with(&low_of(unit.signature), &[&attempt, &text, &now_microseconds()]),
                )
                .map(|changed| changed == 1)
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
        self.write(lease, "unit.stage", Synced::Now, |transaction| {
            transaction
                .execute(
                    &format!(
                        "UPDATE unit SET state = 'staged', manifest = ?6, position = NULL, error = NULL, updated = ?7
                         WHERE {ONE_UNIT}"
                    ),
                    &*unit.with(&low_of(unit.signature), &[&text, &now_microseconds()]),
                )
                .map(|_| ())
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
        self.write(lease, "unit.fail", Synced::Later, |transaction| {
            transaction
                .execute(
                    &format!("UPDATE unit SET state = 'failed', error = ?6, updated = ?7 WHERE {ONE_UNIT}"),
                    &*unit.with(&low_of(unit.signature), &[&text, &now_microseconds()]),
                )
                .map(|_| ())
        })
    }

    /// Every staged file of this flow that a checkpoint, a waiting manifest or a prepared publication names.
    pub(crate) fn live_staged(&self, flow: &str) -> Result<Vec<String>> {
        let texts: Vec<(Option<String>, Option<String>)> = self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT position, manifest FROM unit
                     WHERE flow = ?1 AND (position IS NOT NULL OR manifest IS NOT NULL)",
                )?
                .query_map([flow], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
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
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT path FROM file WHERE flow = ?1 AND stage = ?2 AND (?3 IS NULL OR signature = ?3) AND output = ?4
                     ORDER BY path",
                )?
                .query_map(params![flow, stage, signature, output_name(output)], |row| row.get(0))?
                .collect()
        })
    }

    /// Whether this is the path of a file that this ledger published.
    pub(crate) fn is_published(&self, path: &str) -> Result<bool> {
        self.read(|connection| {
            connection.prepare_cached("SELECT 1 FROM file WHERE path = ?1")?.exists([path])
        })
    }

    /// The newest run in which the stage's rows were kept to the end, and when it started.
    pub(crate) fn latest_rows(&self, flow: &str, stage: &str) -> Result<Option<(String, String)>> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT run.run, run.started FROM run JOIN stage_run ON stage_run.run = run.run
                     WHERE run.flow = ?1 AND stage_run.stage = ?2
                     ORDER BY run.started DESC LIMIT 1",
                    [flow, stage],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
        })
    }
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

/// Notes in `transaction` that a unit is recorded.
pub(super) fn record_unit(
    transaction: &Transaction<'_>,
    stage: StageKey<'_>,
    (run, as_of): (&str, Option<Timestamp>),
    unit: &PublishedUnit,
) -> rusqlite::Result<()> {
    let counts = &unit.counts;
    let high = unit.high.map(Timestamp::as_microsecond);
    let as_of = as_of.map(Timestamp::as_microsecond);
    let key = unit.key.as_ref().map(serde_json::Value::to_string);
    let more: [&dyn ToSql; 10] = [
        &high,
        &counts.rows,
        &counts.bytes,
        &run,
        &now_microseconds(),
        &as_of,
        &unit.version,
        &counts.requests.sent,
        &key,
        &unit.milliseconds,
    ];
    transaction
        .prepare_cached(&format!(
            "UPDATE unit SET state = 'done', recorded_high = coalesce(?6, recorded_high), done_before = 1, rows = ?7,
                 bytes = ?8, run = ?9, done_run = ?9, updated = ?10, recorded_at = ?11, version = coalesce(?12, version),
                 requests = ?13, recorded_key = coalesce(?14, recorded_key), milliseconds = ?15, error = NULL, work = NULL, position = NULL, manifest = NULL
             WHERE {ONE_UNIT}"
        ))?
        .execute(&*stage.unit(&unit.signature).with(&low_of(&unit.signature), &more))
        .map(|_| ())
}
