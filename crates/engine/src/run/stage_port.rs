//! What the units of one stage ask of the coordinator: one schema for all of them, durable checkpoints.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dil_model::schema::{Joining, StoredSchema, join};
use dil_model::unit::{AttemptId, Counts, Position};
use dil_model::{Error, ErrorKind, Result};

use super::declared::complete;
use super::unit::Port;
use crate::event::{Event, EventSink};
use crate::ledger::{LeaseGuard, Ledger};

/// The coordinator's end for one stage.
pub(crate) struct StagePort {
    pub(crate) flow: String,
    pub(crate) stage: String,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) lease: LeaseGuard,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) schemas: Mutex<Schemas>,
    /// The attempts that are under way, by unit number: what anybody else says is stale.
    pub(crate) current: Mutex<HashMap<u64, (AttemptId, String)>>,
}

/// The stage's schemas as they stand: kept ones joined with what units of this run asked for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Schemas {
    pub(crate) read: Option<StoredSchema>,
    pub(crate) written: Option<StoredSchema>,
}

impl StagePort {
    pub(crate) fn schemas(&self) -> Schemas {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes this attempt the unit's current one.
    pub(crate) fn begin(&self, id: AttemptId, signature: &str) {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.unit, (id, signature.to_owned()));
    }

    pub(crate) fn end(&self, id: AttemptId) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.unit);
    }

    fn output_changed(&self, error: &Error) -> Error {
        let message = format!("{}, counting the files that are published already", error.message);
        let hint = format!(
            "keep the column's type with `convert: cast`; or forget the stage with `dil state reset {} {}`, \
             so that the next run reads all of it again and exchanges its files",
            self.flow, self.stage
        );
        Error::new(ErrorKind::Type, "schema/output-changed", message).hint(hint)
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
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        let agreed =
            joined(schemas.read.as_ref(), &read).map_err(|error| complete(error, &self.flow, &self.stage))?;
        // What is written must stay readable together with what was published before, also when `convert` was changed.
        let agreed_written =
            joined(schemas.written.as_ref(), &written).map_err(|error| self.output_changed(&error))?;
        schemas.read = Some(agreed.clone());
        schemas.written = Some(agreed_written);
        Ok(agreed)
    }

    async fn checkpoint(&self, id: AttemptId, position: Position) -> Result<()> {
        let signature = self.signature(id)?;
        let unit = (self.flow.as_str(), self.stage.as_str(), signature.as_str());
        let saved =
            tokio::task::block_in_place(|| self.ledger.checkpoint(&self.lease, unit, id.attempt, &position))?;
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

fn joined(known: Option<&StoredSchema>, new: &StoredSchema) -> Result<StoredSchema> {
    let Some(known) = known else { return Ok(new.clone()) };
    let joined = join(known.to_arrow()?.as_ref(), new.to_arrow()?.as_ref(), Joining::Agreed)?;
    Ok(StoredSchema::from_arrow(&joined))
}
