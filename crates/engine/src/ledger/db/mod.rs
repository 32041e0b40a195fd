//! The databases that a ledger can be in, behind the few calls that it makes of them.

mod dialect;
mod remote;
mod server;
mod value;

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

pub(super) use dialect::Dialect;
use remote::Remote;
pub(super) use remote::number;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
pub use server::Server;
pub(super) use value::{Param, Row, params};

/// What a call gives.
pub(super) type Sql<T> = Result<T, Fault>;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Remote(sqlx::Error),
    /// No answer to the call for a connection.
    Silent(Duration),
    /// The connection was lost in the middle.
    Gone,
    /// Who was asking wants no more.
    Stopped,
    /// What was committed before is not there any more.
    Lost,
    /// A column that always has a value has none.
    Missing(usize),
    NotText,
    Runtime(std::io::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Sqlite(cause)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(cause: sqlx::Error) -> Self {
        Self::Remote(cause)
    }
}

impl Fault {
    /// Whether another connection may do better.
    pub(super) fn is_disconnected(&self) -> bool {
        match self {
            Self::Gone | Self::Silent(_) => true,
            Self::Remote(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => true,
            // A server that is going or coming says so: class 57 of PostgreSQL; 1053 (shutdown), 1927 (killed) and 4031 (idle) of MySQL and MariaDB.
            Self::Remote(sqlx::Error::Database(cause)) => {
                cause.code().is_some_and(|code| code.starts_with("57P"))
                    || matches!(number(&**cause), Some(1053 | 1927 | 4031))
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(cause) => cause.fmt(f),
            // Without the words that say that it comes from the database.
            Self::Remote(sqlx::Error::Database(cause)) => cause.message().fmt(f),
            Self::Remote(sqlx::Error::Io(cause)) => cause.fmt(f),
            Self::Remote(cause) => cause.fmt(f),
            Self::Silent(time) => write!(f, "no connection within {} s", time.as_secs()),
            Self::Gone => f.write_str("the connection was lost"),
            Self::Stopped => f.write_str("stopped"),
            Self::Lost => f.write_str("an entry that was recorded before is gone"),
            Self::Missing(index) => write!(f, "column {index} of an answer has no value"),
            Self::NotText => f.write_str("a text is not UTF-8"),
            Self::Runtime(cause) => cause.fmt(f),
        }
    }
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

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// An open database.
pub(super) enum Db {
    Sqlite {
        connection: Connection,
        /// How commits are synced: asking SQLite for what it does already takes as long as a small commit.
        synced: Option<Synced>,
    },
    Remote(Box<RefCell<Remote>>),
}

impl Db {
    pub(super) fn open_file(path: &Path, flags: OpenFlags) -> Sql<Self> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        // More than there are statements that come with every unit.
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self::Sqlite { connection, synced: None })
    }

    pub(super) fn connect(server: &Server) -> Sql<Self> {
        Remote::connect(server).map(|remote| Self::Remote(Box::new(RefCell::new(remote))))
    }

    /// Reads.
    pub(super) fn read<T>(&mut self, query: impl FnOnce(&Session<'_>) -> Sql<T>) -> Sql<T> {
        match self {
            Self::Sqlite { connection, .. } => query(&Session::Sqlite(connection)),
            Self::Remote(remote) => query(&Session::Remote(remote)),
        }
    }

    /// Reads, all from one state of the database.
    pub(super) fn snapshot<T>(&mut self, query: impl FnOnce(&Session<'_>) -> Sql<T>) -> Sql<T> {
        match self {
            Self::Sqlite { connection, .. } => {
                let view = connection.unchecked_transaction()?;
                query(&Session::Sqlite(&view))
            }
            Self::Remote(remote) => within(remote, Access::Read, query),
        }
    }

    /// As [`Db::transaction`], by one who holds the lease on `flow`: `change` is told the epoch that the lease has, which stays until
    /// the transaction ends.
    pub(super) fn leased<T>(
        &mut self,
        synced: Synced,
        flow: &str,
        change: impl FnOnce(&Session<'_>, Option<u64>) -> Sql<T>,
    ) -> Sql<T> {
        match self {
            Self::Sqlite { .. } => self.transaction(synced, |session| {
                let query = "SELECT epoch FROM lease WHERE flow = ?1";
                let epoch = session.first(query, &params![flow], |row| row.get(0))?;
                change(session, epoch)
            }),
            Self::Remote(remote) => {
                let epoch = remote.borrow_mut().begin_locking(flow)?;
                inside(remote, |session| change(session, epoch.and_then(|epoch| u64::try_from(epoch).ok())))
            }
        }
    }

    /// Changes the database in one transaction, which is undone if `change` fails.
    pub(super) fn transaction<T>(
        &mut self,
        synced: Synced,
        change: impl FnOnce(&Session<'_>) -> Sql<T>,
    ) -> Sql<T> {
        match self {
            Self::Sqlite { connection, synced: known } => {
                // It cannot be set inside a transaction.
                if *known != Some(synced) {
                    let level = if synced == Synced::Now { "FULL" } else { "NORMAL" };
                    connection.pragma_update(None, "synchronous", level)?;
                    *known = Some(synced);
                }
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let value = change(&Session::Sqlite(&transaction))?;
                transaction.commit()?;
                Ok(value)
            }
            Self::Remote(remote) => within(remote, Access::Write, change),
        }
    }
}

fn within<T>(remote: &RefCell<Remote>, access: Access, work: impl FnOnce(&Session<'_>) -> Sql<T>) -> Sql<T> {
    remote.borrow_mut().begin(access)?;
    inside(remote, work)
}

/// Does `work` in the transaction that has begun, and ends it.
fn inside<T>(remote: &RefCell<Remote>, work: impl FnOnce(&Session<'_>) -> Sql<T>) -> Sql<T> {
    let unwound = HangUp(remote);
    let done = work(&Session::Remote(remote));
    std::mem::forget(unwound);
    let ended = remote.borrow_mut().end(done.is_ok());
    let value = done?;
    ended.map(|()| value)
}

/// Takes the connection away from a transaction that a panic left open.
struct HangUp<'r>(&'r RefCell<Remote>);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        if let Ok(mut remote) = self.0.try_borrow_mut() {
            remote.hang_up();
        }
    }
}

/// A database inside a transaction, or while it is read.
pub(super) enum Session<'s> {
    Sqlite(&'s Connection),
    Remote(&'s RefCell<Remote>),
}

/// Rows that one statement inserts at most: what it has of parameters is within what every server takes.
const ROWS_AT_ONCE: usize = 256;

impl Session<'_> {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Remote(remote) => remote.borrow().dialect(),
        }
    }

    /// The schema that the tables are in, where there are schemas.
    pub(super) fn schema(&self) -> Option<String> {
        match self {
            Self::Remote(remote) if self.dialect() == Dialect::Postgres => {
                Some(remote.borrow().schema().to_owned())
            }
            _ => None,
        }
    }

    /// Runs a statement; gives how many rows it matched.
    pub(super) fn execute(&self, statement: &str, params: &[Param<'_>]) -> Sql<u64> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(statement)?;
                Ok(statement.execute(rusqlite::params_from_iter(params))? as u64)
            }
            Self::Remote(remote) => Ok(remote.borrow_mut().execute(statement, params)?.0),
        }
    }

    /// Runs statements that have no parameters and are in the database's own words.
    pub(super) fn run(&self, statements: &str) -> Sql<()> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(statements)?),
            Self::Remote(remote) => remote.borrow_mut().run(statements),
        }
    }

    /// Inserts a row; gives the number it got as its `id`.
    pub(super) fn insert_numbered(&self, insert: &str, params: &[Param<'_>]) -> Sql<i64> {
        match self.dialect() {
            Dialect::MySql => match self {
                Self::Remote(remote) => Ok(remote.borrow_mut().execute(insert, params)?.1),
                Self::Sqlite(_) => Err(Fault::Gone),
            },
            _ => self.one(&format!("{insert} RETURNING id"), params, |row| row.get(0)),
        }
    }

    /// Inserts rows: `head VALUES (…) tail`, with as few calls as the database likes.
    pub(super) fn insert_many<const N: usize>(
        &self,
        head: &str,
        tail: &str,
        rows: &[[Param<'_>; N]],
    ) -> Sql<()> {
        let group = |first: usize| {
            let places: Vec<String> = (first + 1..=first + N).map(|place| format!("?{place}")).collect();
            format!("({})", places.join(", "))
        };
        let at_once = if self.dialect() == Dialect::Sqlite { 1 } else { ROWS_AT_ONCE };
        let statement = |rows: usize| {
            let groups: Vec<String> = (0..rows).map(|row| group(row * N)).collect();
            format!("{head} VALUES {} {tail}", groups.join(", "))
        };
        let mut full = rows.chunks_exact(at_once);
        let mut rest = full.remainder();
        if full.len() > 0 {
            let text = statement(at_once);
            full.try_for_each(|part| self.execute(&text, part.as_flattened()).map(|_| ()))?;
        }
        // Of few lengths, so that few statements are kept ready.
        while !rest.is_empty() {
            let count = 1 << rest.len().ilog2();
            let (part, more) = rest.split_at(count);
            self.execute(&statement(count), part.as_flattened())?;
            rest = more;
        }
        Ok(())
    }

    /// Hands on the rows of a query, one by one.
    pub(super) fn each(
        &self,
        query: &str,
        params: &[Param<'_>],
        mut visit: impl FnMut(&Row<'_>) -> Sql<()>,
    ) -> Sql<()> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(query)?;
                let mut rows = statement.query(rusqlite::params_from_iter(params))?;
                while let Some(row) = rows.next()? {
                    visit(&Row::Sqlite(row))?;
                }
                Ok(())
            }
            Self::Remote(remote) => remote.borrow_mut().each(query, params, &mut visit),
        }
    }

    /// All rows of a query.
    pub(super) fn all<T>(
        &self,
        query: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> Sql<T>,
    ) -> Sql<Vec<T>> {
        let mut all = Vec::new();
        self.each(query, params, |row| {
            all.push(read(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// The first row of a query, if there is one.
    pub(super) fn first<T>(
        &self,
        query: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> Sql<T>,
    ) -> Sql<Option<T>> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(query)?;
                let mut rows = statement.query(rusqlite::params_from_iter(params))?;
                rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()
            }
            Self::Remote(_) => {
                let mut first = None;
                self.each(query, params, |row| {
                    if first.is_none() {
                        first = Some(read(row)?);
                    }
                    Ok(())
                })?;
                Ok(first)
            }
        }
    }

    /// The only row of a query.
    pub(super) fn one<T>(
        &self,
        query: &str,
        params: &[Param<'_>],
        read: impl FnMut(&Row<'_>) -> Sql<T>,
    ) -> Sql<T> {
        self.first(query, params, read)?.ok_or(Fault::Missing(0))
    }
}
