//! What the units of one stage ask of the coordinator: one schema for all of them, durable checkpoints.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dil_model::schema::{Joining, StoredSchema, join};
use dil_model::unit::{AttemptId, Counts, Position};
use dil_model::{Error, ErrorKind, Result};

use super::declared::complete;
use super::unit::Port;
use crate::event::{Event, EventSink};
use crate::ledger::{Checkpoint, LeaseGuard, Ledger, Schemas, StageKey};

/// The code of the error about columns whose types changed since files were published.
const OUTPUT_CHANGED: &str = "schema/output-changed";

/// The coordinator's end for one stage.
pub(crate) struct StagePort {
    pub(crate) flow: String,
    pub(crate) stage: String,
    pub(crate) backfill: String,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) lease: LeaseGuard,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) schemas: Mutex<SchemaBook>,
    /// The attempts that are under way, by unit number: what anybody else says is stale.
    pub(crate) current: Mutex<HashMap<u64, (AttemptId, String)>>,
}

/// The schemas of a stage while it runs.
///
/// Units agree on one schema as they go, and only what is published is kept: a unit that fails takes what it asked for
/// with it. (A unit that was told of such a column meanwhile has it in its files; then it stays.)
#[derive(Debug, Default)]
pub(crate) struct SchemaBook {
    /// As published.
    kept: Schemas,
    /// What the files of units that are under way or wait for publication have, by unit number.
    units: HashMap<u64, Schemas>,
    /// All of these joined: what the next unit begins with.
    agreed: Schemas,
}

impl SchemaBook {
    pub(crate) fn new(kept: Schemas) -> Self {
        Self { agreed: kept.clone(), kept, units: HashMap::new() }
    }

    /// Joins what a unit asks for; it is told all that is agreed on.
    fn ask(&mut self, unit: u64, asked: &Schemas) -> Result<Schemas> {
        self.agreed = joined(&self.agreed, asked)?;
        self.units.insert(unit, self.agreed.clone());
        Ok(self.agreed.clone())
    }

    fn forget(&mut self, unit: u64) {
        self.units.remove(&unit);
        let all = self.units.values().try_fold(self.kept.clone(), |sum, one| joined(&sum, one));
        // Parts of something that fitted together fit together.
        self.agreed = all.unwrap_or_else(|_| self.agreed.clone());
    }
}

impl StagePort {
    fn book(&self) -> MutexGuard<'_, SchemaBook> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this attempt the unit's current one; gives the schemas it begins with, those of what it goes on with
    /// (`earlier`) among them.
    pub(crate) fn begin(&self, id: AttemptId, signature: &str, earlier: &Schemas) -> Result<Schemas> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.unit, (id, signature.to_owned()));
        self.book().ask(id.unit, earlier)
    }

    /// The schemas that a unit's files have.
    pub(crate) fn used(&self, unit: u64) -> Schemas {
        self.book().units.get(&unit).cloned().unwrap_or_default()
    }

    /// The schemas of all that was read so far.
    pub(super) fn agreed(&self) -> Schemas {
        self.book().agreed.clone()
    }

    /// The unit failed: nobody needs what it asked for.
    pub(crate) fn forget(&self, unit: u64) {
        self.book().forget(unit);
    }

    /// The stage's schemas once units that have `used` these are published.
    pub(crate) fn schemas_with<'a>(&self, used: impl Iterator<Item = &'a Schemas>) -> Result<Schemas> {
        let kept = self.book().kept.clone();
        used.into_iter().try_fold(kept, |sum, one| joined(&sum, one))
    }

    /// Notes that these are published.
    pub(crate) fn published(&self, schemas: Schemas) {
        self.book().kept = schemas;
    }

    pub(crate) fn end(&self, id: AttemptId) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.unit);
    }

    /// Says what can be done about types that do not fit together.
    fn advise(&self, error: Error) -> Error {
        if error.code != OUTPUT_CHANGED {
            return complete(error, &self.flow, &self.stage);
        }
        error.hint(format!(
            "keep the column's type with `convert: cast`; or forget the stage with `dil state reset {} {}`, \
             so that the next run reads all of it again and exchanges its files",
            self.flow, self.stage
        ))
    }

    /// The signature of the unit that this attempt is about, if the attempt is current.
    fn signature(&self, id: AttemptId) -> Result<String> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current
            .get(&id.unit)
            .filter(|(known, _)| *known == id)
            .map(|(_, signature)| signature.clone())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Cancelled,
                    "run/stale",
                    format!("attempt {} of unit {} is no longer current", id.attempt, id.unit),
                )
            })
    }
}

#[async_trait]
impl Port for StagePort {
    async fn schema(&self, id: AttemptId, read: StoredSchema, written: StoredSchema) -> Result<StoredSchema> {
        self.signature(id)?;
        let asked = Schemas { read: Some(read), written: Some(written) };
        let agreed = self.book().ask(id.unit, &asked).map_err(|error| self.advise(error))?;
        Ok(agreed.read.unwrap_or_default())
    }

    async fn checkpoint(&self, id: AttemptId, position: Position) -> Result<()> {
        let signature = self.signature(id)?;
        let stage = StageKey { flow: &self.flow, stage: &self.stage, backfill: &self.backfill };
        let unit = stage.unit(&signature);
        let checkpoint = Checkpoint { position, schemas: self.used(id.unit) };
        let saved = tokio::task::block_in_place(|| {
            self.ledger.checkpoint(&self.lease, unit, id.attempt, &checkpoint)
        })?;
        if saved {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Cancelled, "run/stale", "another attempt at this unit has begun"))
    }

    fn progress(&self, id: AttemptId, counts: Counts) {
        if let Ok(unit) = self.signature(id) {
            self.events.event(&Event::UnitProgress { stage: self.stage.clone(), unit, counts });
        }
    }
}

fn joined(known: &Schemas, new: &Schemas) -> Result<Schemas> {
    let read = join_kept(known.read.as_ref(), new.read.as_ref())?;
    // What is written must stay readable together with what was published before, also when `convert` was changed.
    let written = join_kept(known.written.as_ref(), new.written.as_ref()).map_err(|error| {
        let message = format!("{}, counting the files that are published already", error.message);
        Error::new(ErrorKind::Type, OUTPUT_CHANGED, message)
    })?;
    Ok(Schemas { read, written })
}

fn join_kept(known: Option<&StoredSchema>, new: Option<&StoredSchema>) -> Result<Option<StoredSchema>> {
    let (Some(known), Some(new)) = (known, new) else { return Ok(known.or(new).cloned()) };
    if known == new {
        return Ok(Some(known.clone()));
    }
    let joined = join(known.to_arrow()?.as_ref(), new.to_arrow()?.as_ref(), Joining::Agreed)?;
    Ok(Some(StoredSchema::from_arrow(&joined)))
}
