//! The ledger: what is known of runs, units, publications and leases; in an embedded SQLite file, or on a server that several
//! machines share.
//!
//! Only the coordinator opens it. Every change that a run makes goes through [`Ledger::write`], which checks inside the same
//! transaction that the run still holds its lease: a coordinator that slept past its lease can change nothing more.
//!
//! Durability: every commit survives the death of the process. What must survive a power cut is synced before the commit
//! returns ([`Synced::Now`]); what can be done again or is told by the journal goes to disk with the next of those.

mod backlog;
mod copy;
mod db;
mod edit;
mod lease;
mod publication;
mod run;
mod schema;
mod unit;
mod view;

pub(crate) use backlog::{KeptFile, NewBacklog};
pub use db::Server;
pub(crate) use db::Synced;
pub(crate) use edit::Moved;
pub use edit::{MoveReport, ResetReport};
pub(crate) use lease::LeaseGuard;
pub(crate) use publication::{Publication, PublishedUnit, Swap, join};
pub(crate) use run::RunRecord;
pub(crate) use unit::{BeginAt, Checkpoint, Recorded, Schemas};
pub use view::{LedgerView, RunRow, StageRow, UnitFilter, UnitRow};

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use db::{Db, Fault, Param, Row, Session, Sql};
use dil_model::boundary::durable;
use dil_model::{Error, ErrorKind, Result};
use jiff::Timestamp;
use rusqlite::OpenFlags;

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
    fn with<'p>(&'p self, more: &[Param<'p>]) -> Vec<Param<'p>> {
        let StageKey { flow, stage, backfill } = &self.stage;
        let low = Param::Int(Some(low_of(self.signature)));
        let mut parameters = db::params![*flow, *stage, *backfill, "", self.signature].to_vec();
        parameters[3] = low;
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

/// Where a ledger is.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a file of this state folder.
    Folder(PathBuf),
    /// In a database on a server.
    Server(Server),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Server(server) => server.fmt(f),
        }
    }
}

impl From<&Path> for Place {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

/// A ledger.
pub(crate) struct Ledger {
    db: Mutex<Db>,
    /// Where it is, for messages.
    place: String,
    /// Names this ledger in staging prefixes, so that nothing of another ledger is ever touched.
    pub(crate) id: String,
}

impl Ledger {
    /// Opens the ledger, making it if there is none.
    ///
    /// # Errors
    /// `State` if it is corrupt, of another version or not to be reached, `Storage` if the folder cannot be made.
    pub(crate) fn open(place: &Place) -> Result<Self> {
        match place {
            Place::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .map_err(|cause| Error::storage("creating the state folder", folder, &cause))?;
                Self::open_file(&folder.join(FILE), OpenFlags::default())
            }
            Place::Server(server) => {
                let (db, place) = connect(server)?;
                Self::prepared_in(db, place)
            }
        }
    }

    /// Opens the ledger for looking at it; `None` if there is none.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub(crate) fn open_existing(place: &Place) -> Result<Option<Self>> {
        match place {
            Place::Folder(folder) => {
                let path = folder.join(FILE);
                if !path.try_exists().map_err(|cause| Error::storage("looking at", &path, &cause))? {
                    return Ok(None);
                }
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Self::open_file(&path, flags).map(Some)
            }
            Place::Server(server) => {
                let (mut db, place) = connect(server)?;
                if schema::version(&mut db).map_err(|fault| broken(&place, &fault))? == 0 {
                    return Ok(None);
                }
                Self::prepared_in(db, place).map(Some)
            }
        }
    }

    fn open_file(path: &Path, flags: OpenFlags) -> Result<Self> {
        let place = path.display().to_string();
        let db = Db::open_file(path, flags).map_err(|fault| broken(&place, &fault))?;
        Self::prepared_in(db, place)
    }

    fn prepared_in(mut db: Db, place: String) -> Result<Self> {
        let id = schema::prepare(&mut db, &place)?;
        Ok(Self { db: Mutex::new(db), place, id })
    }

    fn lock(&self) -> MutexGuard<'_, Db> {
        // A panic elsewhere cannot leave a transaction half done: dropping one rolls it back.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads.
    fn read<T>(&self, query: impl FnOnce(&Session<'_>) -> Sql<T>) -> Result<T> {
        self.lock().read(query).map_err(|fault| broken(&self.place, &fault))
    }

    /// Reads, all from one state of the ledger.
    fn snapshot<T>(&self, query: impl FnOnce(&Session<'_>) -> Sql<T>) -> Result<T> {
        self.lock().snapshot(query).map_err(|fault| broken(&self.place, &fault))
    }

    /// Hands on rows, one by one, until `visit` fails.
    fn each<E: From<Error>>(
        &self,
        query: &str,
        params: &[Param<'_>],
        mut visit: impl FnMut(&Row<'_>) -> Sql<Result<(), E>>,
    ) -> Result<(), E> {
        let mut stopped = None;
        let done = self.lock().read(|session| {
            session.each(query, params, |row| {
                visit(row)?.map_err(|error| {
                    stopped = Some(error);
                    Fault::Stopped
                })
            })
        });
        match stopped {
            Some(error) => Err(error),
            None => done.map_err(|fault| broken(&self.place, &fault).into()),
        }
    }

    /// Changes the ledger in one transaction, if `lease` is still held.
    ///
    /// # Errors
    /// `Lease` if it is not, `State` otherwise.
    fn write<T>(
        &self,
        lease: &LeaseGuard,
        name: &'static str,
        synced: Synced,
        change: impl FnOnce(&Session<'_>) -> Sql<T>,
    ) -> Result<T> {
        let mut db = self.lock();
        let held = |session: &Session<'_>, epoch| match epoch == Some(lease.epoch) {
            true => change(session).map(Some),
            false => Ok(None),
        };
        durable(name, || db.leased(synced, lease.flow(), held))
            .map_err(|fault| broken(&self.place, &fault))?
            .ok_or_else(|| lease.lost())
    }

    /// Changes the ledger in one transaction, whoever holds the lease.
    fn transaction<T>(
        &self,
        name: &'static str,
        synced: Synced,
        change: impl FnOnce(&Session<'_>) -> Sql<T>,
    ) -> Result<T> {
        let mut db = self.lock();
        durable(name, || db.transaction(synced, change)).map_err(|fault| broken(&self.place, &fault))
    }
}

/// A connection to a server, and its address for messages.
fn connect(server: &Server) -> Result<(Db, String)> {
    let place = server.to_string();
    let db = Db::connect(server).map_err(|fault| broken(&place, &fault))?;
    Ok((db, place))
}

/// What to do about a ledger that is broken. Without the published files' owners, rows would be published twice.
const RESTORE: &str = "restore it from a backup; or move it away, together with the files that its flows published, and start anew";

/// What went wrong with the database, for a user.
fn broken(place: &str, fault: &Fault) -> Error {
    let (slug, hint) = match fault {
        Fault::Sqlite(cause) => of_sqlite(cause),
        Fault::Remote(sqlx::Error::Database(cause)) => of_server(&**cause),
        Fault::Remote(sqlx::Error::Configuration(_)) => {
            ("state/address", "look at the address of the ledger")
        }
        Fault::Remote(sqlx::Error::Tls(_)) => (
            "state/tls",
            "name the authority that signed the server's certificate in the address: sslrootcert= (PostgreSQL), ssl-ca= (MySQL)",
        ),
        Fault::Lost => (
            "state/lost",
            "was the ledger restored from a backup, or does its server not write commits to disk? run again: what is not recorded is read again",
        ),
        _ if fault.is_disconnected() => (
            "state/unreachable",
            "is the server running, and is the address right? what was recorded is safe; run again",
        ),
        _ => ("state/failed", AGAIN),
    };
    Error::new(ErrorKind::State, slug, format!("the ledger {place}: {fault}")).hint(hint)
}

const AGAIN: &str = "run again; if it stays, restore the ledger from a backup";
const BUSY: &str = "another process has the ledger locked; is a run stopped or suspended?";
const FULL: &str = "free some space; what was recorded is safe";

fn of_sqlite(cause: &rusqlite::Error) -> (&'static str, &'static str) {
    use rusqlite::ffi::ErrorCode;
    let rusqlite::Error::SqliteFailure(failure, _) = cause else { return ("state/failed", AGAIN) };
    match failure.code {
        ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => ("state/corrupt", RESTORE),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => ("state/busy", BUSY),
        ErrorCode::DiskFull => ("state/disk-full", FULL),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
            ("state/open", "give this user the right to write there, or choose another folder with --state")
        }
        _ => ("state/failed", AGAIN),
    }
}

/// By the codes of PostgreSQL's appendix A and of MySQL's server error reference.
fn of_server(cause: &dyn sqlx::error::DatabaseError) -> (&'static str, &'static str) {
    let number = db::number(cause);
    let code = cause.code().unwrap_or_default();
    let code = if number.is_some() { "" } else { &*code };
    match (code, number.unwrap_or_default()) {
        ("28000" | "28P01", _) | (_, 1045 | 1698) => {
            ("state/login", "give the user in the address and the password in DIL_SECRET_LEDGER")
        }
        ("3D000", _) | (_, 1049) => {
            ("state/no-database", "make the database, or name another in the address")
        }
        ("42501", _) | (_, 1044 | 1142 | 1370) => (
            "state/rights",
            "grant the user the right to make tables in the database (PostgreSQL: a schema that it owns), and to read and write them",
        ),
        ("55P03" | "40001" | "40P01", _) | (_, 1205 | 1213) => ("state/busy", BUSY),
        ("53100", _) | (_, 1021 | 1114) => ("state/disk-full", FULL),
        ("22001" | "54000", _) | (_, 1406) => (
            "state/too-long",
            "on a server, names of flows and stages have at most 160 bytes, names of units and paths 2,000; or keep the ledger in a file",
        ),
        (code, _) if code.starts_with("57P") => (
            "state/unreachable",
            "the server is going down or coming up; what was recorded is safe; run again",
        ),
        _ => ("state/failed", AGAIN),
    }
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
