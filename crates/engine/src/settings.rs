//! What a run needs to know beside the flow: where its state is, and where secrets come from.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dil_model::secret::{Secret, SecretStore};
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::choice::Choice;
use crate::ledger::{Place, Server};

/// Where state and secrets are.
#[derive(Clone)]
pub struct Settings {
    /// The folder of the rows that runs keep, and of the ledger unless that is on a server.
    pub state_dir: PathBuf,
    /// The server with the ledger.
    pub ledger: Option<Server>,
    /// Where `${secret:NAME}` finds its text.
    pub secrets: Arc<dyn SecretStore>,
    /// How long the lease on a flow lasts without being renewed; it is renewed three times in that time.
    pub lease: Duration,
}

impl Settings {
    /// Settings with the default lease and secrets from the environment.
    pub fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, ledger: None, secrets: Arc::new(EnvSecrets), lease: default_lease() }
    }

    /// Where the ledger is.
    pub fn place(&self) -> Place {
        self.ledger.clone().map_or_else(|| Place::Folder(self.state_dir.clone()), Place::Server)
    }
}

/// Fifteen seconds: short enough that a run on a machine that died is taken over soon, long enough for a machine that
/// swaps. `DIL_LEASE` (a duration) sets another.
pub fn default_lease() -> Duration {
    std::env::var("DIL_LEASE")
        .ok()
        .and_then(|text| dil_model::setting::HumanDuration::parse(&text).ok())
        .map_or(Duration::from_secs(15), |duration| duration.0)
}

/// `.dil` below the current folder.
pub fn default_state_dir() -> PathBuf {
    PathBuf::from(".dil")
}

/// How a run runs.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Worker processes; 0 runs units in this one.
    pub workers: u32,
    /// The program and arguments that start a worker.
    pub worker_command: Vec<OsString>,
    /// Abandons an unfinished run instead of going on with it.
    pub fresh: bool,
    /// Fails if there is no unfinished run.
    pub resume_only: bool,
    /// What `now` means in this run.
    pub now: Timestamp,
    /// Which part of the flow runs.
    pub choice: Choice,
    /// The backfill to work at, if the run is one: its name. Units are planned and recorded as if there were no history but
    /// the backfill's own.
    pub backfill: Option<String>,
}

/// Asks a run to stop: no unit is begun any more, running ones end where they are, what is recorded stays.
#[derive(Clone, Default)]
pub struct Stop(Arc<(AtomicBool, Notify)>);

impl Stop {
    /// One that nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks.
    pub fn request(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        self.0.1.notify_waiters();
    }

    /// Whether somebody asked.
    pub fn is_requested(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }

    /// Waits until somebody asks.
    pub async fn requested(&self) {
        loop {
            let notified = self.0.1.notified();
            if self.is_requested() {
                return;
            }
            notified.await;
        }
    }
}

/// Secrets from the environment: `DIL_SECRET_<NAME>`, else the file `<NAME>` in the folder that `DIL_SECRETS` names.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvSecrets;

impl SecretStore for EnvSecrets {
    fn secret(&self, name: &str) -> Result<Secret> {
        let variable = format!("DIL_SECRET_{name}");
        if let Ok(text) = std::env::var(&variable) {
            return Ok(Secret::new(text));
        }
        let mut tried = format!("the environment variable {variable}");
        if let Some(folder) = std::env::var_os("DIL_SECRETS") {
            // A name is letters, digits, `_`, `-` and dots; one of dots alone would leave the folder.
            let path = PathBuf::from(folder).join(name);
            if name.trim_matches('.').is_empty() {
                return Err(Error::new(
                    ErrorKind::Secret,
                    "secret/name",
                    format!("`{name}` cannot name a secret"),
                ));
            }
            if let Ok(text) = std::fs::read_to_string(&path) {
                return Ok(Secret::new(text.trim_end_matches(['\r', '\n'])));
            }
            tried.push_str(&format!(", the file {}", path.display()));
        }
        Err(Error::new(
            ErrorKind::Secret,
            "secret/missing",
            format!("there is no secret `{name}`: tried {tried}"),
        )
        .hint(format!(
            "set {variable}, or put the secret into a file named {name} in the folder that DIL_SECRETS names"
        )))
    }
}
