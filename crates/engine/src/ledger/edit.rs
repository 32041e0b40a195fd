//! Editing what is recorded by hand: forgetting stages and units, moving watermarks.

use std::time::Duration;

use dil_model::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::db::{Session, Sql, params};
use super::run::now_microseconds;
use super::view::{LedgerView, UnitFilter};
use super::{LeaseGuard, Synced, low_of};
use crate::commit;

/// How long an edit holds the lease on a flow.
const LEASE: Duration = Duration::from_secs(15);

/// What an entry looks like of which nothing is known any more, but for its count of attempts, which names its files.
const FORGOTTEN: &str = "state = 'forgotten', recorded_high = NULL, recorded_key = NULL, recorded_at = NULL, version = NULL, done_before = 0,
     \"rows\" = 0, bytes = 0, requests = 0, milliseconds = 0, error = NULL, work = NULL, position = NULL, manifest = NULL, done_run = NULL";

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

/// What a moved watermark changed, or would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MoveReport {
    /// Units that count as read now, up to their end.
    pub done: u64,
    /// Units that count as read in part.
    pub partly: u64,
    /// Units that are forgotten, so that they are read again.
    pub forgotten: u64,
}

/// A unit that a watermark is moved over.
#[derive(Debug, Clone)]
pub(crate) struct Moved {
    pub(crate) signature: String,
    /// Up to where it counts as read; `None` forgets it.
    pub(crate) high: Option<Timestamp>,
}

impl LedgerView {
    /// Forgets a stage: what is recorded of its units, their watermarks, and its schema, so that all of it is read again.
    /// Published files stay, and whose they are is still known: a unit that is read again replaces its own.
    ///
    /// # Errors
    /// `Lease` while a run of the flow is under way, `State`.
    pub fn reset(&self, flow: &str, stage: &str, dry_run: bool) -> Result<ResetReport> {
        if dry_run {
            return self.forgettable(flow, stage);
        }
        self.leased(flow, |lease| {
            let report = self.forgettable(flow, stage)?;
            self.ledger.write(lease, "stage.reset", Synced::Now, |session| {
                session.execute(
                    &format!("UPDATE unit SET {FORGOTTEN} WHERE flow = ?1 AND stage = ?2"),
                    &params![flow, stage],
                )?;
                session.execute(
                    "DELETE FROM stage_run WHERE stage = ?2
                     AND run IN (SELECT run FROM run WHERE flow = ?1 AND state IN ('running', 'stopped'))",
                    &params![flow, stage],
                )?;
                for table in ["stage_schema", "stage_division", "planned_rows"] {
                    session.execute(
                        &format!("DELETE FROM {table} WHERE flow = ?1 AND stage = ?2"),
                        &params![flow, stage],
                    )?;
                }
                Ok(report)
            })
        })
    }

    /// What a reset of the stage would forget now.
    fn forgettable(&self, flow: &str, stage: &str) -> Result<ResetReport> {
        let count = |table: &str, which: &str| {
            let query = format!("SELECT count(*) FROM {table} WHERE flow = ?1 AND stage = ?2 AND {which}");
            self.ledger.read(|session| session.one(&query, &params![flow, stage], |row| row.get(0)))
        };
        let schema = self.ledger.stage_schema(flow, stage, "read")?;
        Ok(ResetReport {
            units: count("unit", "state <> 'forgotten'")?,
            files: count("file", "output = 'write'")?,
            columns: schema.map_or(0, |schema| schema.0.len() as u64),
        })
    }

    /// Forgets units: their watermarks, and that they are owed. One that the flow still has is new to the next run.
    ///
    /// # Errors
    /// `Lease` while a run of the flow is under way, `State`.
    pub fn forget(&self, flow: &str, filter: &UnitFilter, dry_run: bool) -> Result<u64> {
        let filter = UnitFilter { flow: Some(flow.to_owned()), limit: None, ..filter.clone() };
        if dry_run {
            return Ok(self.ledger.meant(&filter)?.len() as u64);
        }
        self.leased(flow, |lease| {
            let meant = self.ledger.meant(&filter)?;
            let statement = format!(
                "UPDATE unit SET {FORGOTTEN} WHERE flow = ?1 AND stage = ?2 AND backfill = ?3 AND low = ?4 AND signature = ?5"
            );
            self.ledger.write(lease, "unit.forget", Synced::Now, |session| {
                for (stage, backfill, low, signature) in &meant {
                    session.execute(&statement, &params![flow, stage, backfill, *low, signature])?;
                }
                Ok(meant.len() as u64)
            })
        })
    }

    /// Moves watermarks: each unit counts as read up to where it is told, or not at all.
    ///
    /// # Errors
    /// As [`LedgerView::forget`].
    pub(crate) fn move_units(
        &self,
        (flow, stage): (&str, &str),
        moved: impl Iterator<Item = Result<Moved>>,
    ) -> Result<()> {
        self.leased(flow, |lease| {
            let mut moved = moved.peekable();
            while moved.peek().is_some() {
                let part: Vec<Moved> = moved.by_ref().take(4096).collect::<Result<_>>()?;
                self.ledger.write(lease, "unit.move", Synced::Later, |session| {
                    part.iter().try_for_each(|unit| move_unit(session, (flow, stage), unit))
                })?;
            }
            Ok(())
        })
    }

    /// Does something while no run of the flow is under way, and nothing of one is half published.
    fn leased<T>(&self, flow: &str, edit: impl FnOnce(&LeaseGuard) -> Result<T>) -> Result<T> {
        let lease = self.ledger.take_lease(flow, LEASE)?;
        // A publication that was interrupted would otherwise be finished by the next run, and count as read.
        let done = commit::recover(&self.ledger, &lease, flow).and_then(|_| edit(&lease));
        self.ledger.release_lease(&lease)?;
        done
    }
}

fn move_unit(session: &Session<'_>, (flow, stage): (&str, &str), unit: &Moved) -> Sql<()> {
    let low = low_of(&unit.signature);
    let now = now_microseconds();
    match unit.high.map(Timestamp::as_microsecond) {
        Some(high) => session.execute(
            "INSERT INTO unit (flow, stage, backfill, low, signature, state, recorded_high, recorded_at, done_before,
                 run, updated)
             VALUES (?1, ?2, '', ?3, ?4, 'done', ?5, ?6, 1, '', ?6)
             ON CONFLICT (flow, stage, backfill, low, signature) DO UPDATE SET state = 'done', recorded_high = ?5,
                 recorded_at = ?6, done_before = 1, updated = ?6, error = NULL, work = NULL, position = NULL,
                 manifest = NULL",
            &params![flow, stage, low, unit.signature, high, now],
        )?,
        None => session.execute(
            &format!(
                "UPDATE unit SET {FORGOTTEN} WHERE flow = ?1 AND stage = ?2 AND backfill = '' AND low = ?3 AND signature = ?4"
            ),
            &params![flow, stage, low, unit.signature],
        )?,
    };
    Ok(())
}
