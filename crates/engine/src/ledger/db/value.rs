//! What goes into statements and comes out of them.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};

use super::{Fault, Sql};

/// A parameter of a statement. What is missing has a type too: servers ask for it.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) enum Param<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
}

/// Parameters, in the order of their numbers.
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$($crate::ledger::db::Param::from(&$value)),*] };
}
pub(in crate::ledger) use params;

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match *self {
            Self::Int(Some(value)) => ToSqlOutput::Owned(Value::Integer(value)),
            Self::Text(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Self::Int(None) | Self::Text(None) => ToSqlOutput::Owned(Value::Null),
        })
    }
}

/// A count that a ledger can hold; there is no greater one in practice.
fn held(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

macro_rules! param_from {
    ($($kind:ty: |$value:ident| $param:expr;)*) => {
        $(impl<'a> From<&$kind> for Param<'a> {
            fn from($value: &$kind) -> Self {
                $param
            }
        })*
    };
}

param_from! {
    i64: |value| Self::Int(Some(*value));
    u64: |value| Self::Int(Some(held(*value)));
    u32: |value| Self::Int(Some(i64::from(*value)));
    bool: |value| Self::Int(Some(i64::from(*value)));
    Option<i64>: |value| Self::Int(*value);
    &'a str: |value| Self::Text(Some(value));
    &'a String: |value| Self::Text(Some(value.as_str()));
    Option<&'a str>: |value| Self::Text(*value);
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<&'a Option<String>> for Param<'a> {
    fn from(value: &'a Option<String>) -> Self {
        Self::Text(value.as_deref())
    }
}

/// A row of an answer.
pub(in crate::ledger) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
    MySql(&'r MySqlRow),
}

impl Row<'_> {
    /// The column at `index`, counted from 0.
    pub(in crate::ledger) fn get<T: Column>(&self, index: usize) -> Sql<T> {
        T::of(self, index)
    }

    /// The text at `index`, if there is any.
    pub(in crate::ledger) fn text(&self, index: usize) -> Sql<Option<&str>> {
        match self {
            Self::Sqlite(row) => Ok(row.get_ref(index)?.as_str_or_null().map_err(rusqlite::Error::from)?),
            // Decoded as text whatever its type is called: names are kept as bytes where texts of the server are not told apart by every byte.
            Self::Postgres(row) => Ok(row.try_get_unchecked(index)?),
            Self::MySql(row) => {
                let bytes: Option<&[u8]> = row.try_get_unchecked(index)?;
                bytes.map(std::str::from_utf8).transpose().map_err(|_| Fault::NotText)
            }
        }
    }

    fn integer(&self, index: usize) -> Sql<Option<i64>> {
        match self {
            Self::Sqlite(row) => Ok(row.get(index)?),
            Self::Postgres(row) => {
                let null = row.try_get_raw(index)?.is_null();
                if null { Ok(None) } else { Ok(Some(row.try_get_unchecked(index)?)) }
            }
            Self::MySql(row) => {
                let null = row.try_get_raw(index)?.is_null();
                if null { Ok(None) } else { Ok(Some(row.try_get_unchecked(index)?)) }
            }
        }
    }
}

/// What a column can be read as.
pub(in crate::ledger) trait Column: Sized {
    fn of(row: &Row<'_>, index: usize) -> Sql<Self>;
}

impl Column for Option<i64> {
    fn of(row: &Row<'_>, index: usize) -> Sql<Self> {
        row.integer(index)
    }
}

impl Column for i64 {
    fn of(row: &Row<'_>, index: usize) -> Sql<Self> {
        row.integer(index)?.ok_or(Fault::Missing(index))
    }
}

impl Column for u64 {
    fn of(row: &Row<'_>, index: usize) -> Sql<Self> {
        Ok(Self::try_from(i64::of(row, index)?).unwrap_or_default())
    }
}

impl Column for bool {
    fn of(row: &Row<'_>, index: usize) -> Sql<Self> {
        Ok(i64::of(row, index)? != 0)
    }
}

impl Column for Option<String> {
    fn of(row: &Row<'_>, index: usize) -> Sql<Self> {
        Ok(row.text(index)?.map(str::to_owned))
    }
}

impl Column for String {
    fn of(row: &Row<'_>, index: usize) -> Sql<Self> {
        row.text(index)?.map(str::to_owned).ok_or(Fault::Missing(index))
    }
}
