//! A ledger in a database that several machines share.
//!
//! The ledger is asked from synchronous code, on threads that the run's tasks have given up for the time; so a connection has
//! a small runtime of its own, which only runs while an answer is waited for.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use sqlx::error::DatabaseError;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, MySql, Postgres, Row as _};
use tokio::runtime::{Builder, Runtime};

use super::dialect::{Dialect, Spelt};
use super::{Access, Fault, Param, Row, Server, Sql};

/// How long a server may take to answer a call for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a server that was there and is gone is called again: it may be starting anew, or another takes its place.
const RETURN: Duration = Duration::from_secs(30);

/// The error number of MySQL for a database that is not there.
const UNKNOWN_DATABASE: u16 = 1049;

/// Seconds that a transaction waits for another's lock, as long as SQLite does.
const LOCK_SECONDS: u32 = 10;

/// Seconds after which the server ends a session that says nothing: its machine may be gone, and its locks keep others out.
/// Leases are renewed far more often, and what is done to files within a transaction takes less.
const IDLE_SECONDS: u32 = 300;

enum Wire {
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

/// A connection to the server.
pub(in crate::ledger) struct Remote {
    server: Server,
    runtime: Waiter,
    wire: Option<Wire>,
    /// Whether a transaction is.
    open: bool,
    spelt: HashMap<String, Spelt>,
}

/// Sends a statement with its parameters to either kind of server.
macro_rules! bound {
    ($database:ty, $spelt:expr, $params:expr) => {{
        let mut query = sqlx::query::<$database>(AssertSqlSafe(std::sync::Arc::clone(&$spelt.text)));
        let count = $spelt.order.as_ref().map_or($params.len(), Vec::len);
        for place in 0..count {
            let number = $spelt.order.as_ref().map_or(place, |order| order[place]);
            query = match $params.get(number) {
                Some(Param::Int(value)) => query.bind(*value),
                Some(Param::Text(value)) => query.bind(*value),
                None => return Err(Fault::Missing(number)),
            };
        }
        query
    }};
}

impl Remote {
    pub(super) fn connect(server: &Server) -> Sql<Self> {
        let runtime = Waiter::new().map_err(Fault::Runtime)?;
        let mut remote =
            Self { server: server.clone(), runtime, wire: None, open: false, spelt: HashMap::new() };
        remote.wire = Some(remote.dial()?);
        Ok(remote)
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.server.dialect()
    }

    pub(super) fn schema(&self) -> &str {
        self.server.schema()
    }

    fn dial(&self) -> Sql<Wire> {
        let url = self.server.url();
        let dial = async {
            Ok::<_, sqlx::Error>(match self.dialect() {
                Dialect::MySql => {
                    let options = MySqlConnectOptions::from_url(&url)?.disable_statement_logging();
                    let mut connection = match MySqlConnection::connect_with(&options).await {
                        Err(sqlx::Error::Database(cause)) if number(&*cause) == Some(UNKNOWN_DATABASE) => {
                            self.make_database(&options).await?;
                            MySqlConnection::connect_with(&options).await?
                        }
                        connected => connected?,
                    };
                    // Names in double quotes; nothing is cut off in silence; a statement sees what is committed when it begins.
                    let settings = format!(
                        "SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES',
                             SESSION transaction_isolation = 'READ-COMMITTED', SESSION innodb_lock_wait_timeout = {LOCK_SECONDS},
                             SESSION wait_timeout = {IDLE_SECONDS}"
                    );
                    let older = settings.replace("transaction_isolation", "tx_isolation");
                    if connection.execute(AssertSqlSafe(settings)).await.is_err() {
                        connection.execute(AssertSqlSafe(older)).await?;
                    }
                    Wire::MySql(connection)
                }
                _ => {
                    let options = PgConnectOptions::from_url(&url)?.disable_statement_logging().options([
                        ("search_path", self.server.schema()),
                        ("lock_timeout", &format!("{LOCK_SECONDS}s")),
                        ("idle_in_transaction_session_timeout", &format!("{IDLE_SECONDS}s")),
                        ("tcp_keepalives_idle", "15"),
                        ("client_min_messages", "warning"),
                    ]);
                    let connection = PgConnection::connect_with(&options).await?;
                    Wire::Postgres(connection)
                }
            })
        };
        let dialled = self.runtime.wait(async { tokio::time::timeout(CONNECT, dial).await })?;
        dialled.map_err(|_| Fault::Silent(CONNECT))?.map_err(Fault::Remote)
    }

    /// Makes the database that the address names, as PostgreSQL's schema is made.
    async fn make_database(&self, options: &MySqlConnectOptions) -> sqlx::Result<()> {
        let name = options.get_database().unwrap_or_default().replace('`', "``");
        let mut connection = MySqlConnection::connect_with(&options.clone().database("")).await?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE IF NOT EXISTS `{name}`"))).await?;
        connection.close().await
    }

    /// Begins a transaction, on another connection if this one is gone.
    ///
    /// Every commit is on the server's disk, as far as its own settings go: a server may die and come back while the run goes on.
    pub(super) fn begin(&mut self, access: Access) -> Sql<()> {
        let begin = match (self.dialect(), access) {
            (Dialect::Postgres, Access::Read) => "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ",
            (_, Access::Read) => "START TRANSACTION READ ONLY",
            (_, Access::Write) => "BEGIN",
        };
        self.begin_with(begin).map(|_| ())
    }

    /// Begins a transaction that changes something, and locks the lease on `flow`; gives its epoch. It takes one round trip: most
    /// transactions are as short as this.
    pub(super) fn begin_locking(&mut self, flow: &str) -> Sql<Option<i64>> {
        // Backslashes mean themselves in both kinds of sessions.
        let flow = flow.replace('\'', "''");
        self.begin_with(&format!("BEGIN; SELECT epoch FROM lease WHERE flow = '{flow}' FOR UPDATE"))
    }

    /// Begins a transaction as `begin` says; gives the first number of the first row.
    fn begin_with(&mut self, begin: &str) -> Sql<Option<i64>> {
        let number = match self.first_number(begin) {
            Err(fault) if fault.is_disconnected() => {
                self.redial()?;
                self.first_number(begin)
            }
            done => done,
        };
        match number {
            Ok(number) => {
                self.open = true;
                Ok(number)
            }
            Err(fault) => {
                // A transaction may have begun that nobody would end.
                self.wire = None;
                Err(fault)
            }
        }
    }

    fn first_number(&mut self, statements: &str) -> Sql<Option<i64>> {
        let query = sqlx::raw_sql(AssertSqlSafe(statements));
        Ok(match self.wire.as_mut().ok_or(Fault::Gone)? {
            Wire::Postgres(connection) => {
                let rows = self.runtime.wait(query.fetch_all(connection))??;
                rows.first().map(|row| row.try_get(0)).transpose()?
            }
            Wire::MySql(connection) => {
                let rows = self.runtime.wait(query.fetch_all(connection))??;
                rows.first().map(|row| row.try_get(0)).transpose()?
            }
        })
    }

    /// Calls a server that is gone until it is there again.
    fn redial(&mut self) -> Sql<()> {
        let since = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            self.wire = None;
            match self.dial() {
                Ok(wire) => {
                    self.wire = Some(wire);
                    return Ok(());
                }
                Err(fault) if since.elapsed() > RETURN || !fault.is_disconnected() => return Err(fault),
                Err(_) => self.runtime.wait(async { tokio::time::sleep(pause).await })?,
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Ends a transaction; `keep` tells whether what it changed stays.
    pub(super) fn end(&mut self, keep: bool) -> Sql<()> {
        self.open = false;
        let ended = self.run(if keep { "COMMIT" } else { "ROLLBACK" });
        if ended.is_err() {
            // What is left of the transaction goes with the connection.
            self.wire = None;
        }
        ended
    }

    /// Leaves what is under way to the server, which undoes it.
    pub(super) fn hang_up(&mut self) {
        self.open = false;
        self.wire = None;
    }

    /// Runs statements without parameters, in the server's own words.
    pub(super) fn run(&mut self, statements: &str) -> Sql<()> {
        let query = sqlx::raw_sql(AssertSqlSafe(statements));
        match self.wire.as_mut().ok_or(Fault::Gone)? {
            Wire::Postgres(connection) => self.runtime.wait(query.execute(connection))?.map(|_| ())?,
            Wire::MySql(connection) => self.runtime.wait(query.execute(connection))?.map(|_| ())?,
        }
        Ok(())
    }

    fn spell(&mut self, statement: &str) -> Spelt {
        if let Some(spelt) = self.spelt.get(statement) {
            return spelt.clone();
        }
        let spelt = self.dialect().spell(statement);
        self.spelt.insert(statement.to_owned(), spelt.clone());
        spelt
    }

    /// Runs a statement; gives the rows it matched, and the number of the one it made if the server gave it one.
    pub(super) fn execute(&mut self, statement: &str, params: &[Param<'_>]) -> Sql<(u64, i64)> {
        let spelt = self.spell(statement);
        match self.wire.as_mut().ok_or(Fault::Gone)? {
            Wire::Postgres(connection) => {
                let query = bound!(Postgres, spelt, params);
                Ok((self.runtime.wait(query.execute(connection))??.rows_affected(), 0))
            }
            Wire::MySql(connection) => {
                let query = bound!(MySql, spelt, params);
                let done = self.runtime.wait(query.execute(connection))??;
                Ok((done.rows_affected(), i64::try_from(done.last_insert_id()).unwrap_or_default()))
            }
        }
    }

    /// Hands on the rows of a query as they come.
    pub(super) fn each(
        &mut self,
        statement: &str,
        params: &[Param<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Sql<()>,
    ) -> Sql<()> {
        let seen = Cell::new(false);
        let mut visit = |row: &Row<'_>| {
            seen.set(true);
            visit(row)
        };
        match self.each_once(statement, params, &mut visit) {
            // Outside a transaction nothing is lost with the connection.
            Err(fault) if !self.open && fault.is_disconnected() && !seen.get() => {
                self.redial()?;
                self.each_once(statement, params, &mut visit)
            }
            done => done,
        }
    }

    fn each_once(
        &mut self,
        statement: &str,
        params: &[Param<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Sql<()>,
    ) -> Sql<()> {
        let spelt = self.spell(statement);
        match self.wire.as_mut().ok_or(Fault::Gone)? {
            Wire::Postgres(connection) => {
                let query = bound!(Postgres, spelt, params);
                self.runtime.wait(async {
                    let mut rows = query.fetch(connection);
                    while let Some(row) = rows.try_next().await? {
                        visit(&Row::Postgres(&row))?;
                    }
                    Ok(())
                })?
            }
            Wire::MySql(connection) => {
                let query = bound!(MySql, spelt, params);
                self.runtime.wait(async {
                    let mut rows = query.fetch(connection);
                    while let Some(row) = rows.try_next().await? {
                        visit(&Row::MySql(&row))?;
                    }
                    Ok(())
                })?
            }
        }
    }
}

/// The number of a server's error, if it is MySQL's.
pub(in crate::ledger) fn number(cause: &dyn DatabaseError) -> Option<u16> {
    cause.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// A runtime that only runs while somebody waits.
struct Waiter(Option<Runtime>);

impl Waiter {
    fn new() -> std::io::Result<Self> {
        Builder::new_current_thread().enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    /// Drives `future`. A thread that works for another runtime is given up by that one for the time.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Sql<T> {
        let runtime = self.0.as_ref().ok_or(Fault::Gone)?;
        Ok(if tokio::runtime::Handle::try_current().is_ok() {
            tokio::task::block_in_place(|| runtime.block_on(future))
        } else {
            runtime.block_on(future)
        })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // It may be dropped where nobody may wait for its end.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
