//! A ledger to try things in: a copy that shares nothing with the one it was made from, gone when it is dropped.

use std::collections::BTreeSet;

use dil_flow::Checked;
use dil_model::{Error, Result};
use tempfile::TempDir;

use crate::choice::Choice;
use crate::ledger::Ledger;
use crate::settings::Settings;

/// The copy of a ledger, with the settings to use it.
pub struct Scratch {
    settings: Settings,
    _folder: TempDir,
}

impl Scratch {
    /// Copies what the ledger knows of a flow, if there is one.
    ///
    /// # Errors
    /// `State` if it cannot be read, `Storage` if there is no room for the copy.
    pub fn of(settings: &Settings, flow: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("dil-scratch-")
            .tempdir()
            .map_err(|cause| Error::storage("making a folder in", &std::env::temp_dir(), &cause))?;
        if let Some(ledger) = Ledger::open_existing(&settings.place())? {
            ledger.copy_to(folder.path(), flow)?;
        }
        let settings = Settings { state_dir: folder.path().to_owned(), ledger: None, ..settings.clone() };
        Ok(Self { settings, _folder: folder })
    }

    /// The settings, with the copy in place of the ledger.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// The stages that only give rows to others, and need nothing but such stages: running them shows nobody anything. `None` if
/// there are none.
pub fn auxiliary(flow: &Checked) -> Option<Choice> {
    let mut chosen: BTreeSet<&str> = BTreeSet::new();
    for name in flow.order() {
        let Some(stage) = flow.flow.stages.get(name) else { continue };
        let gives_rows = stage.write.is_none() && flow.downstream(name).next().is_some();
        if gives_rows && stage.upstreams().iter().all(|before| chosen.contains(before)) {
            chosen.insert(name);
        }
    }
    (!chosen.is_empty()).then(|| Choice::whole(chosen))
}
