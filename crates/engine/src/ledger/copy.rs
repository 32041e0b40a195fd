//! A copy of a ledger, in another folder, to try things in.

use std::path::Path;

use dil_model::Result;
use rusqlite::OpenFlags;

use super::db::{Db, Dialect, Param, Row, Session, Sql, Synced, params};
use super::{FILE, Ledger, Place, broken};

/// A table's columns, those that hold numbers apart.
struct Columns {
    table: &'static str,
    numbers: &'static [&'static str],
    texts: &'static [&'static str],
    /// Which of its rows are about the flow that is parameter 1.
    which: &'static str,
}

const OF_FLOW: &str = "flow = ?1";
const OF_RUNS: &str = "run IN (SELECT run FROM run WHERE flow = ?1)";

/// What planning asks a ledger for. What is staged or half published is the business of its owner alone.
const COPIED: [Columns; 7] = [
    Columns {
        table: "run",
        numbers: &["as_of"],
        texts: &["run", "flow", "fingerprint", "state", "started", "ended", "error", "backfill"],
        which: OF_FLOW,
    },
    Columns { table: "stage_run", numbers: &[], texts: &["run", "stage"], which: OF_RUNS },
    Columns {
        table: "stage_schema",
        numbers: &[],
        texts: &["flow", "stage", "kind", "spelt"],
        which: OF_FLOW,
    },
    Columns { table: "stage_division", numbers: &[], texts: &["flow", "stage", "spelt"], which: OF_FLOW },
    Columns { table: "planned_rows", numbers: &[], texts: &["flow", "stage", "run"], which: OF_FLOW },
    Columns {
        table: "unit",
        numbers: &[
            "low",
            "recorded_high",
            "recorded_at",
            "done_before",
            "attempts",
            "\"rows\"",
            "bytes",
            "requests",
            "milliseconds",
            "updated",
        ],
        texts: &[
            "flow",
            "stage",
            "backfill",
            "signature",
            "state",
            "version",
            "recorded_key",
            "run",
            "done_run",
            "error",
            "\"each\"",
        ],
        which: OF_FLOW,
    },
    Columns {
        table: "file",
        numbers: &["\"rows\"", "bytes", "low"],
        texts: &["flow", "stage", "signature", "output", "run", "path", "sha256"],
        which: OF_FLOW,
    },
];

/// What a copy has nothing to do with: files that the ledger it was made from staged.
const CLEARED: &str = "DELETE FROM lease; DELETE FROM staging;
     UPDATE publication SET state = 'cancelled', body = '' WHERE state = 'prepared';
     UPDATE run SET state = 'abandoned' WHERE state IN ('running', 'stopped');
     UPDATE unit SET work = NULL, position = NULL, manifest = NULL;";

impl Ledger {
    /// Makes a ledger in another folder that knows what this one knows of `flow`, and has nothing to finish, to clear away or to
    /// go on with.
    ///
    /// # Errors
    /// `State`, `Storage`.
    pub(crate) fn copy_to(&self, folder: &Path, flow: &str) -> Result<()> {
        let path = folder.join(FILE);
        let place = path.display().to_string();
        if self.read(|session| Ok(session.dialect()))? == Dialect::Sqlite {
            self.read(|session| session.execute("VACUUM INTO ?1", &params![place]))?;
            let mut copy =
                Db::open_file(&path, OpenFlags::default()).map_err(|fault| broken(&place, &fault))?;
            let id = format!("{:016x}", rand::random::<u64>());
            let cleared = copy.transaction(Synced::Later, |session| {
                session.run(CLEARED)?;
                session.execute("UPDATE meta SET value = ?1 WHERE \"key\" = 'id'", &params![id])
            });
            return cleared.map(|_| ()).map_err(|fault| broken(&place, &fault));
        }
        let copy = Self::open(&Place::Folder(folder.to_owned()))?;
        // Nothing counts on it after this process, so no boundary of what is kept is crossed here.
        let copied = copy.lock().transaction(Synced::Later, |to| {
            // What is read fails with the place it is read from.
            let read = self
                .snapshot(|from| COPIED.iter().try_for_each(|columns| copy_rows(columns, flow, from, to)));
            to.run(CLEARED)?;
            Ok(read)
        });
        copied.map_err(|fault| broken(&place, &fault))?
    }
}

fn copy_rows(columns: &Columns, flow: &str, from: &Session<'_>, to: &Session<'_>) -> Sql<()> {
    let Columns { table, numbers, texts, which } = columns;
    let names: Vec<&str> = numbers.iter().chain(*texts).copied().collect();
    let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    let names = names.join(", ");
    let insert = format!("INSERT INTO {table} ({names}) VALUES ({})", places.join(", "));
    let query = format!("SELECT {names} FROM {table} WHERE {which}");
    from.each(&query, &params![flow], |row: &Row<'_>| {
        let ints = (0..numbers.len()).map(|index| row.get::<Option<i64>>(index).map(Param::Int));
        let texts = (0..texts.len()).map(|index| row.text(numbers.len() + index).map(Param::Text));
        let params: Vec<Param<'_>> = ints.chain(texts).collect::<Sql<_>>()?;
        to.execute(&insert, &params).map(|_| ())
    })
}
