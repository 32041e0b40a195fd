//! Runs and the stages that are over in them.

use dil_model::schema::StoredSchema;
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;

use super::db::params;
use super::{LeaseGuard, Ledger, RESTORE, Synced};

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct RunRecord {
    pub(crate) run: String,
    pub(crate) fingerprint: String,
    /// What `now` means in it, also after it was interrupted.
    pub(crate) as_of: Timestamp,
    /// The backfill that it works at, or nothing.
    pub(crate) backfill: String,
}

impl Ledger {
    /// The run of this flow that was interrupted, if its last run was.
    pub(crate) fn unfinished_run(&self, flow: &str) -> Result<Option<RunRecord>> {
        let found = self.read(|session| {
            session.first(
                "SELECT run, fingerprint, as_of, backfill FROM run WHERE flow = ?1 AND state IN ('running', 'stopped')
                 ORDER BY started DESC LIMIT 1",
                &params![flow],
                |row| Ok((row.get(0)?, row.get(1)?, row.get::<i64>(2)?, row.get(3)?)),
            )
        })?;
        found
            .map(|(run, fingerprint, as_of, backfill)| {
                Ok(RunRecord { run, fingerprint, as_of: instant(as_of)?, backfill })
            })
            .transpose()
    }

    /// Begins a run, or goes on with it.
    pub(crate) fn begin_run(&self, lease: &LeaseGuard, flow: &str, record: &RunRecord) -> Result<()> {
        self.write(lease, "run.begin", Synced::Later, |session| {
            session.execute(
                "UPDATE run SET state = 'abandoned', ended = ?3 WHERE flow = ?1 AND run <> ?2 AND state IN ('running', 'stopped')",
                &params![flow, record.run, now()],
            )?;
            session.execute(
                "INSERT INTO run (run, flow, fingerprint, state, as_of, started, backfill)
                 VALUES (?1, ?2, ?3, 'running', ?4, ?5, ?6)
                 ON CONFLICT (run) DO UPDATE SET state = 'running', ended = NULL",
                &params![record.run, flow, record.fingerprint, record.as_of.as_microsecond(), now(), record.backfill],
            )?;
            Ok(())
        })
    }

    /// Ends a run.
    pub(crate) fn end_run(
        &self,
        lease: &LeaseGuard,
        run: &str,
        state: &str,
        error: Option<&str>,
    ) -> Result<()> {
        self.write(lease, "run.end", Synced::Later, |session| {
            session.execute(
                "UPDATE run SET state = ?2, ended = ?3, error = ?4 WHERE run = ?1",
                &params![run, state, now(), error],
            )?;
            Ok(())
        })
    }

    /// Whether the stage is over in this run.
    pub(crate) fn is_stage_over(&self, run: &str, stage: &str) -> Result<bool> {
        self.read(|session| {
            let query = "SELECT 1 FROM stage_run WHERE run = ?1 AND stage = ?2";
            Ok(session.first(query, &params![run, stage], |_| Ok(()))?.is_some())
        })
    }

    /// Notes that the stage is over in this run.
    pub(crate) fn end_stage(&self, lease: &LeaseGuard, run: &str, stage: &str) -> Result<()> {
        self.write(lease, "stage.end", Synced::Later, |session| {
            session.execute(
                "INSERT INTO stage_run (run, stage) VALUES (?1, ?2) ON CONFLICT (run, stage) DO UPDATE SET stage = ?2",
                &params![run, stage],
            )?;
            Ok(())
        })
    }

    /// The stage's schemas: of the rows as read, and as written.
    pub(crate) fn stage_schema(&self, flow: &str, stage: &str, kind: &str) -> Result<Option<StoredSchema>> {
        let spelt: Option<String> = self.read(|session| {
            session.first(
                "SELECT spelt FROM stage_schema WHERE flow = ?1 AND stage = ?2 AND kind = ?3",
                &params![flow, stage, kind],
                |row| row.get(0),
            )
        })?;
        spelt.map(|text| serde_json::from_str(&text).map_err(|_| unreadable("a schema"))).transpose()
    }

    /// Notes folders in which something may be staged from now on.
    pub(crate) fn add_staging(&self, lease: &LeaseGuard, flow: &str, folders: &[String]) -> Result<()> {
        self.write(lease, "staging.add", Synced::Later, |session| {
            for folder in folders {
                session.execute(
                    "INSERT INTO staging (flow, folder) VALUES (?1, ?2)
                     ON CONFLICT (flow, folder) DO UPDATE SET folder = ?2",
                    &params![flow, folder],
                )?;
            }
            Ok(())
        })
    }

    /// The folders in which something may be staged.
    pub(crate) fn staging(&self, flow: &str) -> Result<Vec<String>> {
        self.read(|session| {
            session.all("SELECT folder FROM staging WHERE flow = ?1", &params![flow], |row| row.get(0))
        })
    }

    /// The runs of this flow whose kept rows are no longer needed: all but the newest `keep` that are over.
    pub(crate) fn old_runs(&self, flow: &str, keep: u32) -> Result<Vec<String>> {
        let runs: Vec<String> = self.read(|session| {
            session.all(
                "SELECT run FROM run WHERE flow = ?1 AND state NOT IN ('running', 'stopped')
                 AND run IN (SELECT run FROM file WHERE flow = ?1 AND output = 'rows') ORDER BY started DESC",
                &params![flow],
                |row| row.get(0),
            )
        })?;
        Ok(runs.into_iter().skip(keep as usize).collect())
    }

    /// Forgets the kept rows of a run; their files are removed by the caller, before.
    pub(crate) fn forget_rows(&self, lease: &LeaseGuard, run: &str) -> Result<()> {
        self.write(lease, "rows.forget", Synced::Later, |session| {
            session.execute("DELETE FROM file WHERE run = ?1 AND output = 'rows'", &params![run])?;
            Ok(())
        })
    }
}

/// The present, for records that people read.
pub(super) fn now() -> String {
    Timestamp::now().to_string()
}

/// The present, for records that are compared.
pub(super) fn now_microseconds() -> i64 {
    Timestamp::now().as_microsecond()
}

pub(super) fn instant(microseconds: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(microseconds).map_err(|_| unreadable("a time"))
}

pub(super) fn unreadable(what: &str) -> Error {
    Error::new(ErrorKind::State, "state/corrupt", format!("{what} in the ledger cannot be read"))
        .hint(RESTORE)
}
