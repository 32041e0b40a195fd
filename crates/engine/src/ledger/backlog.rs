//! What a stage owes: units that were planned and are not done, with the values they are made of.
//!
//! A unit whose value comes from a row of another stage is not planned again by itself: the row may be listed only once, or
//! leave the list. So planned units enter the ledger, in the transaction that marks the rows as used.

use dil_model::Result;
use dil_model::unit::EachRow;
use rusqlite::{OptionalExtension as _, params};

use super::run::{now_microseconds, unreadable};
use super::{LeaseGuard, Ledger, StageKey, Synced, low_of};

/// What planning a stage changes.
#[derive(Debug, Default)]
pub(crate) struct NewBacklog {
    /// How the stage is divided now, if that is not on record yet.
    pub(crate) division: Option<String>,
    /// Names and values of the units that owe rows; only where the values come from another stage.
    pub(crate) owing: Vec<(String, EachRow)>,
    /// Runs whose kept rows are now all in the backlog.
    pub(crate) used: Vec<String>,
}

impl NewBacklog {
    pub(crate) fn is_empty(&self) -> bool {
        self.division.is_none() && self.owing.is_empty() && self.used.is_empty()
    }
}

/// A file of rows that a stage kept, and the run that it was kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptFile {
    pub(crate) path: String,
    pub(crate) run: String,
}

impl Ledger {
    /// Notes what was planned for a stage.
    pub(crate) fn add_backlog(
        &self,
        lease: &LeaseGuard,
        key: StageKey<'_>,
        run: &str,
        new: &NewBacklog,
    ) -> Result<()> {
        let encoded = |each: &EachRow| serde_json::to_string(each).map_err(|_| unreadable("a unit's values"));
        let owing = new.owing.iter().map(|(signature, each)| Ok((signature, encoded(each)?)));
        let owing = owing.collect::<Result<Vec<_>>>()?;
        let StageKey { flow, stage, backfill } = key;
        self.write(lease, "unit.plan", Synced::Later, |transaction| {
            if let Some(division) = &new.division {
                transaction.execute(
                    "INSERT OR REPLACE INTO stage_division VALUES (?1, ?2, ?3)",
                    [flow, stage, division],
                )?;
            }
            let mut insert = transaction.prepare_cached(
                "INSERT INTO unit (flow, stage, backfill, low, signature, state, run, updated, each)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'planned', ?6, ?7, ?8)
                 ON CONFLICT (flow, stage, backfill, low, signature) DO UPDATE SET
                     state = CASE WHEN state IN ('done', 'forgotten') THEN 'planned' ELSE state END, each = ?8",
            )?;
            let now = now_microseconds();
            for (signature, each) in &owing {
                insert.execute(params![flow, stage, backfill, low_of(signature), signature, run, now, each])?;
            }
            for used in &new.used {
                transaction.execute("INSERT OR IGNORE INTO planned_rows VALUES (?1, ?2, ?3)", [flow, stage, used])?;
            }
            Ok(())
        })
    }

    /// The distinct values of the units that were planned and are not done, one by one.
    pub(crate) fn each_backlog(
        &self,
        stage: StageKey<'_>,
        mut visit: impl FnMut(&EachRow) -> Result<()>,
    ) -> Result<()> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT DISTINCT each FROM unit WHERE flow = ?1 AND stage = ?2 AND backfill = ?3 AND state <> 'done'
                 AND state <> 'forgotten' AND each IS NOT NULL",
            )?;
            let mut rows = query.query([stage.flow, stage.stage, stage.backfill])?;
            while let Some(row) = rows.next()? {
                let text: String = row.get(0)?;
                let each = serde_json::from_str(&text).map_err(|_| unreadable("a unit's values"));
                if let Err(error) = each.and_then(|each| visit(&each)) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })?
    }

    /// How the stage was divided when it was first planned.
    pub(crate) fn division(&self, flow: &str, stage: &str) -> Result<Option<String>> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT spelt FROM stage_division WHERE flow = ?1 AND stage = ?2",
                    [flow, stage],
                    |row| row.get(0),
                )
                .optional()
        })
    }

    /// The kept rows of `upstream` that units of `stage` are planned from: those of `run`, and those that no run has put
    /// into the backlog. Of a unit that is read in full every time, only the latest rows count.
    pub(crate) fn rows_for(&self, stage: StageKey<'_>, upstream: &str, run: &str) -> Result<Vec<KeptFile>> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT f.path, f.run FROM file f
                     JOIN unit u ON u.flow = f.flow AND u.stage = f.stage AND u.backfill = ?5 AND u.low = dil_low(f.signature)
                         AND u.signature = f.signature
                     WHERE f.flow = ?1 AND f.stage = ?2 AND f.output = 'rows'
                     AND (u.recorded_high IS NOT NULL OR u.recorded_key IS NOT NULL OR f.run = u.done_run)
                     AND (f.run = ?4 OR NOT EXISTS (
                         SELECT 1 FROM planned_rows p WHERE p.flow = ?1 AND p.stage = ?3 AND p.run = f.run))
                     ORDER BY f.path",
                )?
                .query_map([stage.flow, upstream, stage.stage, run, stage.backfill], |row| {
                    Ok(KeptFile { path: row.get(0)?, run: row.get(1)? })
                })?
                .collect()
        })
    }

    /// Whether rows that `upstream` kept in `run` are still needed for planning `stage`.
    pub(crate) fn owes_rows(&self, stage: StageKey<'_>, upstream: &str, run: &str) -> Result<bool> {
        let files = self.rows_for(stage, upstream, "")?;
        Ok(files.iter().any(|file| file.run == run))
    }

    /// Another flow or stage with files in the folder, as this ledger knows it.
    pub(crate) fn neighbour(
        &self,
        folder: &str,
        flow: &str,
        stage: &str,
    ) -> Result<Option<(String, String)>> {
        // `0` is the character after `/`: everything below the folder sorts between the two.
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT flow, stage FROM file WHERE path > ?1 || '/' AND path < ?1 || '0' AND output = 'write'
                     AND NOT (flow = ?2 AND stage = ?3) LIMIT 1",
                    [folder.trim_end_matches('/'), flow, stage],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
        })
    }
}
