//! The journal: what is about to be published, and that it was.

use dil_model::Result;
use dil_model::manifest::{Output, StagedFile};
use dil_model::schema::StoredSchema;
use dil_model::unit::Counts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::db::{Param, params};
use super::run::{now_microseconds, unreadable};
use super::unit::{Schemas, output_name, record_unit};
use super::{LeaseGuard, Ledger, ONE_UNIT, StageKey, Synced, low_of};

/// All that a publication changes: enough to finish it after a crash without anything else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Publication {
    pub(crate) flow: String,
    pub(crate) stage: String,
    pub(crate) run: String,
    /// The backfill that the run works at, or nothing.
    #[serde(default)]
    pub(crate) backfill: String,
    /// What counts as now in the run.
    #[serde(default)]
    pub(crate) as_of: Option<Timestamp>,
    pub(crate) units: Vec<PublishedUnit>,
    /// The folder that each output's names are relative to.
    pub(crate) write_folder: Option<String>,
    pub(crate) rows_folder: Option<String>,
    /// Published files that these take the place of.
    pub(crate) removes: Vec<String>,
    /// Set when the whole folder is exchanged (`mode: replace`).
    pub(crate) swap: Option<Swap>,
    pub(crate) read_schema: Option<StoredSchema>,
    pub(crate) written_schema: Option<StoredSchema>,
}

/// A folder that takes the place of another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Swap {
    /// The folder that is filled; afterwards it holds what was there before, and is removed.
    pub(crate) fresh: String,
    /// The mark that tells the new content from the old.
    pub(crate) mark: String,
}

/// One unit of a publication.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PublishedUnit {
    pub(crate) signature: String,
    /// Up to where it is recorded with this; a unit that is read in full every time has no such place.
    pub(crate) high: Option<Timestamp>,
    /// Up to which key it is recorded with this, if the stage is divided by keys.
    #[serde(default)]
    pub(crate) key: Option<serde_json::Value>,
    /// The version of its value, if there are versions.
    #[serde(default)]
    pub(crate) version: Option<String>,
    pub(crate) counts: Counts,
    #[serde(default)]
    pub(crate) milliseconds: u64,
    pub(crate) files: Vec<StagedFile>,
}

impl Publication {
    /// The stage, whose units these are.
    pub(crate) fn stage_key(&self) -> StageKey<'_> {
        StageKey { flow: &self.flow, stage: &self.stage, backfill: &self.backfill }
    }

    /// Whether nothing becomes visible or goes: one transaction does it, and nothing has to be journaled before.
    pub(crate) fn is_only_recorded(&self) -> bool {
        self.swap.is_none() && self.removes.is_empty() && self.units.iter().all(|unit| unit.files.is_empty())
    }

    /// The stage's schemas once it is recorded.
    pub(crate) fn schemas(&self) -> Schemas {
        Schemas { read: self.read_schema.clone(), written: self.written_schema.clone() }
    }

    /// The folder that an output's final names are relative to.
    pub(crate) fn folder(&self, output: Output) -> Option<&str> {
        match output {
            Output::Write => self.write_folder.as_deref(),
            Output::Rows => self.rows_folder.as_deref(),
        }
    }
}

impl Ledger {
    /// Journals *prepared*; gives the publication's number.
    pub(crate) fn prepare(&self, lease: &LeaseGuard, publication: &Publication) -> Result<i64> {
        let body = serde_json::to_string(publication).map_err(|_| unreadable("a publication"))?;
        self.write(lease, "publication.prepare", Synced::Now, |session| {
            session.insert_numbered(
                "INSERT INTO publication (flow, stage, run, epoch, state, body) VALUES (?1, ?2, ?3, ?4, 'prepared', ?5)",
                &params![publication.flow, publication.stage, publication.run, lease.epoch, body],
            )
        })
    }

    /// The publications of a flow that were prepared and not recorded, oldest first.
    pub(crate) fn prepared(&self, flow: &str) -> Result<Vec<(i64, Publication)>> {
        let rows: Vec<(i64, String)> = self.read(|session| {
            session.all(
                "SELECT id, body FROM publication WHERE flow = ?1 AND state = 'prepared' ORDER BY id",
                &params![flow],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })?;
        rows.into_iter()
            .map(|(id, body)| Ok((id, serde_json::from_str(&body).map_err(|_| unreadable("a publication"))?)))
            .collect()
    }

    /// Records: journal (if it stands there), watermarks, unit states, files and schema, in one transaction.
    pub(crate) fn record(
        &self,
        lease: &LeaseGuard,
        id: Option<i64>,
        publication: &Publication,
    ) -> Result<()> {
        let schemas = [("read", &publication.read_schema), ("written", &publication.written_schema)]
            .into_iter()
            .filter_map(|(kind, schema)| schema.as_ref().map(|schema| (kind, serde_json::to_string(schema))))
            .map(|(kind, text)| text.map(|text| (kind, text)).map_err(|_| unreadable("a schema")))
            .collect::<Result<Vec<_>>>()?;
        self.write(lease, "publication.record", Synced::Later, |session| {
            let Publication { flow, stage, run, .. } = publication;
            // The body is only needed until now; the row stays as the publication's trace.
            if let Some(id) = id {
                session
                    .execute("UPDATE publication SET state = 'recorded', body = '' WHERE id = ?1", &params![id])?;
            }
            for removed in &publication.removes {
                session.execute("DELETE FROM file WHERE path = ?1", &params![removed])?;
            }
            let mut files = Vec::new();
            for unit in &publication.units {
                record_unit(session, publication.stage_key(), (run, publication.as_of), unit)?;
                for file in &unit.files {
                    let Some(folder) = publication.folder(file.output) else { continue };
                    files.push((unit, file, join(folder, &file.name)));
                }
            }
            let files: Vec<[Param<'_>; 10]> = files
                .iter()
                .map(|(unit, file, path)| {
                    let output = output_name(file.output);
                    let low = Param::Int(Some(low_of(&unit.signature)));
                    let [flow, stage, signature, output, run, path, rows, bytes, sha256] =
                        params![flow, stage, unit.signature, output, run, path, file.rows, file.bytes, file.sha256];
                    [flow, stage, signature, output, run, path, rows, bytes, sha256, low]
                })
                .collect();
            session.insert_many(
                "INSERT INTO file (flow, stage, signature, output, run, path, \"rows\", bytes, sha256, low)",
                "ON CONFLICT (path) DO UPDATE SET flow = excluded.flow, stage = excluded.stage,
                     signature = excluded.signature, output = excluded.output, run = excluded.run,
                     \"rows\" = excluded.\"rows\", bytes = excluded.bytes, sha256 = excluded.sha256, low = excluded.low",
                &files,
            )?;
            for (kind, text) in &schemas {
                session.execute(
                    "INSERT INTO stage_schema (flow, stage, kind, spelt) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (flow, stage, kind) DO UPDATE SET spelt = ?4",
                    &params![flow, stage, *kind, text],
                )?;
            }
            Ok(())
        })
    }

    /// Gives a prepared publication up: its units have failed and begin at their start. `take_back` undoes what of it is
    /// visible, while no other process can take the lease over.
    pub(crate) fn cancel(
        &self,
        lease: &LeaseGuard,
        id: i64,
        publication: &Publication,
        error: &dil_model::Error,
        take_back: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let text = serde_json::to_string(error).map_err(|_| unreadable("an error"))?;
        self.write(lease, "publication.cancel", Synced::Now, |session| {
            if let Err(error) = take_back() {
                return Ok(Err(error));
            }
            session
                .execute("UPDATE publication SET state = 'cancelled', body = '' WHERE id = ?1", &params![id])?;
            for unit in &publication.units {
                let key = publication.stage_key().unit(&unit.signature);
                session.execute(
                    &format!(
                        "UPDATE unit SET state = 'failed', error = ?6, position = NULL, manifest = NULL, updated = ?7
                         WHERE {ONE_UNIT}"
                    ),
                    &key.with(&params![text, now_microseconds()]),
                )?;
            }
            Ok(Ok(()))
        })?
    }

    /// Runs `step` while no other process can take the lease over: for a step that must not be done by two.
    pub(crate) fn fenced(&self, lease: &LeaseGuard, step: impl FnOnce() -> Result<()>) -> Result<()> {
        self.write(lease, "publication.fence", Synced::Later, |_| Ok(step()))?
    }
}

/// A final name below its folder, as the ledger keeps it.
pub(crate) fn join(folder: &str, name: &str) -> String {
    std::path::Path::new(folder).join(name).to_string_lossy().into_owned()
}
