//! The values that a stage is divided by: rows of another stage, or a literal list.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use dil_model::config::Each;
use dil_model::setting::Pattern;
use dil_model::unit::EachRow;
use dil_model::{Error, ErrorKind, Result};
use indexmap::IndexMap;
use serde_json::Value;

use crate::signature::signature;

/// A value, and whether it is among the rows or literals; otherwise only the backlog knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Listed {
    pub(crate) row: EachRow,
    pub(crate) listed: bool,
}

/// The distinct values, those of the backlog among them, in an order that depends on nothing but themselves.
///
/// # Errors
/// `Config` if a field is not in the rows, `Content` if it is null or no scalar.
pub(crate) fn values(
    each: Option<&Each>,
    rows: Option<&[EachRow]>,
    backlog: &[EachRow],
) -> Result<Vec<Listed>> {
    let Some(each) = each else { return Ok(vec![Listed { row: EachRow::new(), listed: true }]) };
    let distinct: IndexMap<String, EachRow> = match &each.rows_of {
        Some(stage) => {
            let rows = rows.ok_or_else(|| {
                Error::new(
                    ErrorKind::Internal,
                    "plan/no-rows",
                    format!("the rows of stage `{stage}` were not given"),
                )
            })?;
            of_rows(each, stage, rows)?
        }
        None => {
            let name = each.name.clone().unwrap_or_default();
            let row = |value: &dil_model::config::Scalar| {
                EachRow::from_iter([(name.clone(), Value::from(value.0.clone()))])
            };
            each.values.iter().map(row).map(|row| (signature(&row, None), row)).collect()
        }
    };
    let unlisted: IndexMap<String, EachRow> = backlog
        .iter()
        .map(|row| (signature(row, None), row))
        .filter(|(name, _)| !distinct.contains_key(name))
        .map(|(name, row)| (name, row.clone()))
        .collect();
    let listed = distinct.into_values().map(|row| Listed { row, listed: true });
    let unlisted = unlisted.into_values().map(|row| Listed { row, listed: false });
    let mut values: Vec<Listed> = listed.chain(unlisted).collect();
    values.sort_by(|a, b| order(&a.row, &b.row));
    Ok(values)
}

fn of_rows(each: &Each, stage: &str, rows: &[EachRow]) -> Result<IndexMap<String, EachRow>> {
    let known: BTreeSet<&str> = rows.iter().flat_map(|row| row.keys().map(String::as_str)).collect();
    if !rows.is_empty() {
        let used = each.fields.iter().map(String::as_str).chain(each.filter.keys().map(String::as_str));
        used.into_iter()
            .filter(|field| !known.contains(field))
            .try_for_each(|field| Err(missing(stage, field, &known)))?;
    }
    let mut distinct = IndexMap::new();
    for row in rows {
        if each
            .filter
            .iter()
            .all(|(field, pattern)| row.get(field).is_some_and(|value| matches(value, pattern)))
        {
            let row = pick(each, stage, row)?;
            distinct.insert(signature(&row, None), row);
        }
    }
    Ok(distinct)
}

fn missing(stage: &str, field: &str, known: &BTreeSet<&str>) -> Error {
    let names: Vec<&str> = known.iter().copied().collect();
    let message = format!("the rows of stage `{stage}` have no field `{field}` with a value");
    let hint = if names.is_empty() {
        format!("`dil preview FLOW {stage}` shows the fields that they have")
    } else {
        format!("they have {}", names.join(", "))
    };
    Error::new(ErrorKind::Config, "plan/no-field", message).hint(hint)
}

fn pick(each: &Each, stage: &str, row: &EachRow) -> Result<EachRow> {
    let mut picked = EachRow::with_capacity(each.fields.len());
    for field in &each.fields {
        let value = row.get(field).unwrap_or(&Value::Null);
        let trouble = match value {
            Value::Null => "is null",
            Value::Array(_) => "is a list",
            Value::Object(_) => "is an object",
            _ => {
                picked.insert(field.clone(), value.clone());
                continue;
            }
        };
        let message =
            format!("field `{field}` {trouble} in a row of stage `{stage}`, so it cannot name a unit");
        let hint = match value {
            Value::Null => {
                format!("leave such rows out with `where: {{ {field}: \".+\" }}`, or take other fields")
            }
            _ => "units are made of texts, numbers and bools; take a field inside of it in the stage before"
                .to_owned(),
        };
        return Err(Error::new(ErrorKind::Content, "plan/no-value", message).hint(hint));
    }
    Ok(picked)
}

fn matches(value: &Value, pattern: &Pattern) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => pattern.matches(text),
        other => pattern.matches(&other.to_string()),
    }
}

/// By field in the order of the flow file's `fields`: bools, then numbers by size, then texts.
fn order(a: &EachRow, b: &EachRow) -> Ordering {
    a.values()
        .zip(b.values())
        .map(|(a, b)| order_values(a, b))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn order_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            // Integers above 2^53 share their float with neighbours; the later steps tell them apart.
            let float = |number: &serde_json::Number| number.as_f64().unwrap_or(f64::NAN);
            let by_size = float(a).total_cmp(&float(b)).then_with(|| a.as_i128().cmp(&b.as_i128()));
            by_size.then_with(|| a.to_string().cmp(&b.to_string()))
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) | Value::Object(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use dil_model::config::Scalar;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn each(fields: &[&str], filter: &[(&str, &str)]) -> Each {
        Each {
            rows_of: Some("surveys".into()),
            fields: fields.iter().map(ToString::to_string).collect(),
            filter: filter
                .iter()
                .map(|(field, pattern)| (field.to_string(), Pattern::parse(pattern).unwrap()))
                .collect(),
            ..Each::default()
        }
    }

    fn rows(rows: Value) -> Vec<EachRow> {
        serde_json::from_value(rows).unwrap()
    }

    fn check(each: &Each, given: Value, expect: &[&str]) {
        let found = values(Some(each), Some(&rows(given)), &[]).unwrap();
        let found: Vec<String> = found.iter().map(|value| signature(&value.row, None)).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn equal_rows_are_one_unit_and_numbers_are_sorted_as_numbers() {
        check(
            &each(&["id"], &[]),
            json!([{ "id": 10, "n": "a" }, { "id": 2 }, { "id": 10, "n": "b" }]),
            &["id=2", "id=10"],
        );
        check(
            &each(&["a", "b"], &[]),
            json!([{ "b": "x", "a": 1 }, { "b": "y", "a": 1 }, { "a": 1, "b": "x" }]),
            &["a=1,b=x", "a=1,b=y"],
        );
    }

    #[test]
    fn no_rows_make_no_units() {
        check(&each(&["id"], &[("status", "active")]), json!([]), &[]);
    }

    #[test]
    fn a_condition_matches_the_whole_text_and_never_a_null() {
        let given = json!([
            { "id": 1, "status": "active" }, { "id": 2, "status": "inactive" }, { "id": 3, "status": null },
            { "id": 4, "status": "paused" }, { "id": 5 }, { "id": null, "status": "gone" }, { "id": 7, "status": "active\n" }
        ]);
        check(&each(&["id"], &[("status", "active|paused")]), given.clone(), &["id=1", "id=4"]);
        check(&each(&["id"], &[("id", "[12]"), ("status", ".*active")]), given, &["id=1", "id=2"]);
        check(
            &each(&["id"], &[("ok", "true")]),
            json!([{ "id": 1, "ok": true }, { "id": 2, "ok": false }]),
            &["id=1"],
        );
    }

    #[test]
    fn says_which_field_has_no_value() {
        let error = |fields: &[&str], given: Value| {
            values(Some(&each(fields, &[])), Some(&rows(given)), &[]).unwrap_err()
        };
        let missing = error(&["idd"], json!([{ "id": 1, "name": "x" }]));
        assert_eq!(missing.message, "the rows of stage `surveys` have no field `idd` with a value");
        assert_eq!(missing.hint.as_deref(), Some("they have id, name"));
        let null = error(&["id"], json!([{ "id": 1 }, { "id": null }]));
        assert_eq!(null.message, "field `id` is null in a row of stage `surveys`, so it cannot name a unit");
        assert_eq!(error(&["id"], json!([{ "id": [1] }])).code, "plan/no-value");
    }

    #[test]
    fn a_literal_list_is_texts() {
        let each = Each {
            values: ["us", "eu", "us"].map(|text| Scalar(text.into())).into(),
            name: Some("region".into()),
            ..Each::default()
        };
        let found: Vec<String> =
            values(Some(&each), None, &[]).unwrap().iter().map(|value| signature(&value.row, None)).collect();
        assert_eq!(found, ["region=eu", "region=us"]);
    }

    proptest! {
        #[test]
        fn the_order_of_the_rows_does_not_matter(ids in prop::collection::vec((-4_i64..4, "[ab]{0,2}"), 0..12), seed in any::<u64>()) {
            let rows: Vec<EachRow> = ids.iter().map(|(a, b)| EachRow::from_iter([("a".to_owned(), json!(a)), ("b".to_owned(), json!(b))])).collect();
            let mut shuffled = rows.clone();
            let mut state = seed;
            for at in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(at, (state >> 33) as usize % (at + 1));
            }
            let each = each(&["b", "a"], &[("b", "a*")]);
            prop_assert_eq!(values(Some(&each), Some(&rows), &[]).unwrap(), values(Some(&each), Some(&shuffled), &[]).unwrap());
        }
    }
}
