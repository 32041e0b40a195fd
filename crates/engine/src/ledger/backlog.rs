//! What a stage owes: units that were planned and are not done, with the values they are made of.
//!
//! A unit whose value comes from a row of another stage is not planned again by itself: the row may be listed only once, or
//! leave the list. So planned units enter the ledger, in the transaction that marks the rows as used.

use dil_model::Result;
use dil_model::unit::EachRow;

use super::db::{Param, params};
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
        let now = now_microseconds();
        let rows: Vec<[Param<'_>; 9]> = owing
            .iter()
            .map(|(signature, each)| {
                let low = Param::Int(Some(low_of(signature)));
                let [flow, stage, backfill, signature, state, run, now, each] =
                    params![flow, stage, backfill, **signature, "planned", run, now, each];
                [flow, stage, backfill, low, signature, state, run, now, each]
            })
            .collect();
        self.write(lease, "unit.plan", Synced::Later, |session| {
            if let Some(division) = &new.division {
                session.execute(
                    "INSERT INTO stage_division (flow, stage, spelt) VALUES (?1, ?2, ?3)
                     ON CONFLICT (flow, stage) DO UPDATE SET spelt = ?3",
                    &params![flow, stage, division],
                )?;
            }
            session.insert_many(
                "INSERT INTO unit (flow, stage, backfill, low, signature, state, run, updated, \"each\")",
                "ON CONFLICT (flow, stage, backfill, low, signature) DO UPDATE SET
                     state = CASE WHEN unit.state IN ('done', 'forgotten') THEN 'planned' ELSE unit.state END,
                     \"each\" = excluded.\"each\"",
                &rows,
            )?;
            for used in &new.used {
                session.execute(
                    "INSERT INTO planned_rows (flow, stage, run) VALUES (?1, ?2, ?3)
                     ON CONFLICT (flow, stage, run) DO UPDATE SET run = ?3",
                    &params![flow, stage, used],
                )?;
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
        self.each(
            "SELECT DISTINCT \"each\" FROM unit WHERE flow = ?1 AND stage = ?2 AND backfill = ?3 AND state <> 'done'
             AND state <> 'forgotten' AND \"each\" IS NOT NULL",
            &params![stage.flow, stage.stage, stage.backfill],
            |row| {
                let each = serde_json::from_str(row.text(0)?.unwrap_or_default());
                Ok(each.map_err(|_| unreadable("a unit's values")).and_then(|each| visit(&each)))
            },
        )
    }

    /// How the stage was divided when it was first planned.
    pub(crate) fn division(&self, flow: &str, stage: &str) -> Result<Option<String>> {
        self.read(|session| {
            session.first(
                "SELECT spelt FROM stage_division WHERE flow = ?1 AND stage = ?2",
                &params![flow, stage],
                |row| row.get(0),
            )
        })
    }

    /// The kept rows of `upstream` that units of `stage` are planned from: those of `run`, and those that no run has put
    /// into the backlog. Of a unit that is read in full every time, only the latest rows count.
    pub(crate) fn rows_for(&self, stage: StageKey<'_>, upstream: &str, run: &str) -> Result<Vec<KeptFile>> {
        self.read(|session| {
            session.all(
                "SELECT f.path, f.run FROM file f
                 JOIN unit u ON u.flow = f.flow AND u.stage = f.stage AND u.backfill = ?5 AND u.low = f.low
                     AND u.signature = f.signature
                 WHERE f.flow = ?1 AND f.stage = ?2 AND f.output = 'rows'
                 AND (u.recorded_high IS NOT NULL OR u.recorded_key IS NOT NULL OR f.run = u.done_run)
                 AND (f.run = ?4 OR NOT EXISTS (
                     SELECT 1 FROM planned_rows p WHERE p.flow = ?1 AND p.stage = ?3 AND p.run = f.run))
                 ORDER BY f.path",
                &params![stage.flow, upstream, stage.stage, run, stage.backfill],
                |row| Ok(KeptFile { path: row.get(0)?, run: row.get(1)? }),
            )
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
        let folder = folder.trim_end_matches('/');
        let (after, before) = (format!("{folder}/"), format!("{folder}0"));
        self.read(|session| {
            session.first(
                "SELECT flow, stage FROM file WHERE path > ?1 AND path < ?2 AND output = 'write'
                 AND NOT (flow = ?3 AND stage = ?4) LIMIT 1",
                &params![after, before, flow, stage],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })
    }
}
