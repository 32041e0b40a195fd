//! The ledger: what is known of runs, units, publications and leases, in one embedded SQLite file.
//!
//! Only the coordinator opens it. Every change that a run makes goes through [`Ledger::write`], which checks inside the same
//! transaction that the run still holds its lease: a coordinator that slept past its lease can change nothing more.
//!
//! Durability: every commit survives the death of the process. What must survive a power cut is synced before the commit
//! returns ([`Synced::Now`]); what can be done again or is told by the journal goes to disk with the next of those.

mod backlog;
mod edit;
mod lease;
mod publication;
mod run;
mod schema;
mod unit;
mod view;

pub(crate) use backlog::{KeptFile, NewBacklog};
pub(crate) use edit::Moved;
pub use edit::{MoveReport, ResetReport};
pub(crate) use lease::LeaseGuard;
pub(crate) use publication::{Publication, PublishedUnit, Swap, join};
pub(crate) use run::RunRecord;
pub(crate) use unit::{BeginAt, Checkpoint, Recorded, Schemas};
pub use view::{LedgerView, RunRow, StageRow, UnitFilter, UnitRow};

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dil_model::boundary::durable;
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, ToSql, Transaction, TransactionBehavior};

/// The file inside the state folder.
const FILE: &str = "ledger.sqlite";

/// A stage as the ledger knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StageKey<'a> {
    pub(crate) flow: &'a str,
    pub(crate) stage: &'a str,
    /// The backfill that is under way, or nothing: each has entries of its own.
    pub(crate) backfill: &'a str,
}

impl<'a> StageKey<'a> {
    pub(crate) fn unit(self, signature: &'a str) -> UnitKey<'a> {
        UnitKey { stage: self, signature }
    }
}

/// A unit as the ledger knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnitKey<'a> {
    pub(crate) stage: StageKey<'a>,
    pub(crate) signature: &'a str,
}

impl UnitKey<'_> {
    /// The first five parameters of every statement about one unit.
    fn with<'p>(&'p self, low: &'p i64, more: &[&'p dyn ToSql]) -> Vec<&'p dyn ToSql> {
        let StageKey { flow, stage, backfill } = &self.stage;
        let mut parameters: Vec<&dyn ToSql> = vec![flow, stage, backfill, low, &self.signature];
        parameters.extend(more);
        parameters
    }
}

/// What statements about one unit ask for.
const ONE_UNIT: &str = "flow = ?1 AND stage = ?2 AND backfill = ?3 AND low = ?4 AND signature = ?5";

/// A key as people read it.
pub(crate) fn key_text(key: &serde_json::Value) -> String {
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}

/// The first instant of the interval that a unit's name tells, in microseconds, or its first key; 0 if it tells none. Units are kept in its
/// order, which is the one in which they are planned.
fn low_of(signature: &str) -> i64 {
    // What stands in quotes is a value, and a plain value holds neither comma nor equals sign.
    let behind = signature.rfind('"').map_or(0, |quote| quote + 1);
    let tail = signature.get(behind..).unwrap_or_default();
    let last = tail.rsplit(',').next().unwrap_or_default();
    if let Some(key) = last.strip_prefix("key=") {
        return key.parse().unwrap_or(0);
    }
    let low: Option<Timestamp> = last.strip_prefix("time=").and_then(|low| low.parse().ok());
    low.map_or(0, Timestamp::as_microsecond)
}

/// When a commit is on the disk, not only with the kernel. The log is written in order, so a synced commit takes all
/// before it along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synced {
    /// Before the call returns: files are made visible, removed or counted on because of it.
    Now,
    /// With the next commit that is synced. Losing it to a power cut costs work, never rows: an attempt begins again, a
    /// prepared publication is found done and recorded again.
    Later,
}

/// The connection, and how its commits are synced: asking SQLite for what it does already takes as long as a small commit.
struct Open {
    connection: Connection,
    synced: Option<Synced>,
}

impl Open {
    fn new(connection: Connection) -> Mutex<Self> {
        // More than there are statements that come with every unit.
        connection.set_prepared_statement_cache_capacity(64);
        Mutex::new(Self { connection, synced: None })
    }
}

/// The ledger of one state folder.
pub(crate) struct Ledger {
    open: Mutex<Open>,
    path: PathBuf,
    /// Names this ledger in staging prefixes, so that nothing of another ledger is ever touched.
    pub(crate) id: String,
}

impl Ledger {
    /// Opens the ledger, making it if there is none.
    ///
    /// # Errors
    /// `State` if it is corrupt or of another version, `Storage` if the folder cannot be made.
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(state_dir)
            .map_err(|cause| Error::storage("creating the state folder", state_dir, &cause))?;
        let path = state_dir.join(FILE);
        let mut connection = Connection::open(&path).map_err(|cause| broken(&path, &cause))?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(|cause| broken(&path, &cause))?;
        let id = schema::prepare(&mut connection, &path)?;
        Ok(Self { open: Open::new(connection), path, id })
    }

    /// Opens the ledger for looking at it; `None` if there is none.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub(crate) fn open_existing(state_dir: &Path) -> Result<Option<Self>> {
        let path = state_dir.join(FILE);
        if !path.try_exists().map_err(|cause| Error::storage("looking at", &path, &cause))? {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags(&path, flags).map_err(|cause| broken(&path, &cause))?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(|cause| broken(&path, &cause))?;
        let id = schema::prepare(&mut connection, &path)?;
        Ok(Some(Self { open: Open::new(connection), path, id }))
    }

    /// Makes a ledger in another folder that knows what this one knows, and has nothing to finish, to clear away or to go on with:
    /// files that this one staged are none of its business.
    ///
    /// # Errors
    /// `State`, `Storage`.
    pub(crate) fn copy_to(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let fail = |cause: rusqlite::Error| broken(&path, &cause);
        self.read(|connection| connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]).map(|_| ()))?;
        let copy = Connection::open(&path).map_err(fail)?;
        copy.execute_batch(
            "DELETE FROM lease; DELETE FROM staging;
             UPDATE publication SET state = 'cancelled', body = '' WHERE state = 'prepared';
             UPDATE run SET state = 'abandoned' WHERE state IN ('running', 'stopped');
             UPDATE unit SET work = NULL, position = NULL, manifest = NULL;",
        )
        .map_err(fail)?;
        let id = format!("{:016x}", rand::random::<u64>());
        copy.execute("UPDATE meta SET value = ?1 WHERE key = 'id'", [id]).map(|_| ()).map_err(fail)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A panic elsewhere cannot leave a transaction half done: dropping one rolls it back.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads.
    pub(crate) fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        query(&self.lock().connection).map_err(|cause| broken(&self.path, &cause))
    }

    /// Changes the ledger in one transaction, if `lease` is still held.
    ///
    /// # Errors
    /// `Lease` if it is not, `State` otherwise.
    pub(crate) fn write<T>(
        &self,
        lease: &LeaseGuard,
        name: &'static str,
        synced: Synced,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.transaction(name, synced, |transaction| {
            if !lease.is_held(transaction)? {
                return Ok(None);
            }
            change(transaction).map(Some)
        })?
        .ok_or_else(|| lease.lost())
    }

    /// Changes the ledger in one transaction, whoever holds the lease.
    pub(crate) fn transaction<T>(
        &self,
        name: &'static str,
        synced: Synced,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut open = self.lock();
        let done = durable(name, || -> rusqlite::Result<T> {
            // It cannot be set inside a transaction.
            if open.synced != Some(synced) {
                let level = if synced == Synced::Now { "FULL" } else { "NORMAL" };
                open.connection.pragma_update(None, "synchronous", level)?;
                open.synced = Some(synced);
            }
            let transaction = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        done.map_err(|cause| broken(&self.path, &cause))
    }
}

/// What to do about a ledger that is broken. Without the published files' owners, rows would be published twice.
const RESTORE: &str = "restore it from a backup; or move it away, together with the files that its flows published, and start anew";

/// What SQLite says, for a user.
fn broken(path: &Path, cause: &rusqlite::Error) -> Error {
    use rusqlite::ffi::ErrorCode;
    let place = path.display();
    let code = match cause {
        rusqlite::Error::SqliteFailure(failure, _) => Some(failure.code),
        _ => None,
    };
    let (slug, hint) = match code {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ("state/corrupt", RESTORE),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ("state/busy", "another process has the ledger locked; is a run stopped or suspended?")
        }
        Some(ErrorCode::DiskFull) => ("state/disk-full", "free some space; what was recorded is safe"),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            ("state/open", "give this user the right to write there, or choose another folder with --state")
        }
        _ => ("state/failed", "run again; if it stays, restore the ledger from a backup"),
    };
    Error::new(ErrorKind::State, slug, format!("the ledger {place}: {cause}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::low_of;

    #[test]
    fn the_first_instant_is_read_from_a_units_name() {
        for (signature, low) in [
            ("all", 0),
            ("time=1970-01-01T00:00:01Z", 1_000_000),
            ("id=42,time=1970-01-01T00:00:00.000002Z", 2),
            (r#"path="a,time=1970-01-01T00:00:01Z",time=1970-01-01T00:00:02Z"#, 2_000_000),
            (r#"path="a,time=1970-01-01T00:00:01Z""#, 0),
            (r#""time"=1970-01-01T00:00:01Z"#, 0),
            ("id=7,key=-300", -300),
        ] {
            assert_eq!(low_of(signature), low, "{signature}");
        }
    }
}
