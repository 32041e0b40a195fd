//! Declared types beside those that earlier runs recorded.

use dil_model::arrow::datatypes::DataType;
use dil_model::config::Stage;
use dil_model::schema::name_of;
use dil_model::{Error, ErrorKind, Result};

use crate::ledger::Ledger;

/// Refuses a declared column that earlier runs recorded with another type: their files have that type, and would not be
/// readable together with new ones.
///
/// # Errors
/// `Config`, with what changes the type; `State` if the recorded schema cannot be read.
pub(crate) fn check_declared(ledger: &Ledger, flow: &str, name: &str, stage: &Stage) -> Result<()> {
    let Some(recorded) = ledger.stage_schema(flow, name, "read")? else { return Ok(()) };
    let recorded = recorded.to_arrow()?;
    for (column, declared) in &stage.read.columns {
        let Ok(field) = recorded.field_with_name(column) else { continue };
        if !agree(field.data_type(), declared.arrow()) {
            let known = name_of(field.data_type());
            let message = format!("column `{column}` is declared as {declared}, and recorded as {known}");
            let hint = format!(
                "declare it as {known}; or forget the stage with `dil state reset {flow} {name}`, \
                 so that the next run reads all of it again and exchanges its files"
            );
            return Err(Error::new(ErrorKind::Config, "schema/declared-differs", message).hint(hint));
        }
    }
    Ok(())
}

/// Adds to the advice of an error of type what else it takes if the column's type is recorded already.
pub(crate) fn complete(mut error: Error, flow: &str, stage: &str) -> Error {
    if error.kind == ErrorKind::Type
        && let Some(hint) = &mut error.hint
    {
        *hint = format!(
            "{hint}; a type that is recorded already changes only with `dil state reset {flow} {stage}`, \
             after which the next run reads all of it again"
        );
    }
    error
}

/// Whether what is recorded is of the declared type as far as it is known.
fn agree(recorded: &DataType, declared: &DataType) -> bool {
    match (recorded, declared) {
        (DataType::Null, _) => true,
        (DataType::List(a), DataType::List(b)) => agree(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => a.iter().all(|field| {
            b.find(field.name()).is_none_or(|(_, other)| agree(field.data_type(), other.data_type()))
        }),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use dil_model::setting::ColumnType;

    use super::*;

    fn check(recorded: &str, declared: &str, expect: bool) {
        let [a, b] = [recorded, declared].map(|spelt| ColumnType::parse(spelt).expect("a type"));
        assert_eq!(agree(a.arrow(), b.arrow()), expect, "{recorded} {declared}");
    }

    #[test]
    fn a_type_agrees_with_itself_and_with_what_is_not_known_yet() {
        check("int64", "int64", true);
        check("null", "date", true);
        check("list<null>", "list<text>", true);
        check("struct<a: int64, b: null>", "struct<b: text, c: date>", true);
    }

    #[test]
    fn no_type_becomes_another_one() {
        check("int64", "float64", false);
        check("float64", "int64", false);
        check("int32", "int64", false);
        check("decimal(10,2)", "decimal(12,2)", false);
        check("list<struct<a: int64>>", "list<struct<a: text>>", false);
    }
}
