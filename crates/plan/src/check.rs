//! What is wrong with a `units` section, all of it at once.

use dil_model::Problem;
use dil_model::config::{Each, Units};
use jiff::Timestamp;

use crate::range::{Flaw, Range};
use crate::values::whole;

/// Names that a unit's templates see beside its values.
const TAKEN: [&str; 3] = ["low", "high", "run"];

/// Says what is wrong with a `units` section; `path` leads to it (`["stages", "orders", "units"]`).
pub(crate) fn check(units: &Units, path: &[&str]) -> Vec<Problem> {
    let mut problems = units.each.as_ref().map(|each| check_each(each, path)).unwrap_or_default();
    if units.max == Some(0) {
        let problem =
            Problem::new("plan/max", "`max: 0` would never take a unit", &[path, &["max"]].concat());
        problems.push(problem.hint("write the number of units that one run takes, or leave it out"));
    }
    let Some(time) = &units.time else { return problems };
    let place = |flaw: Flaw| {
        Problem::new(flaw.slug, flaw.message, &[path, &["time", flaw.key]].concat()).hint(flaw.hint)
    };
    // A range that ends now is never empty for good, so now is as late as can be.
    match Range::read(time, Timestamp::MAX) {
        Err(flaws) => problems.extend(flaws.into_iter().map(place)),
        Ok(range) if range.from >= range.to => {
            let message =
                format!("nothing is in the range: `to` ({}) is not after `from` ({})", time.to, time.from);
            let problem = Problem::new("plan/empty-range", message, &[path, &["time", "to"]].concat());
            problems.push(problem.hint("`to` is the first instant after the last"));
        }
        Ok(_) => {}
    }
    problems
}

fn check_each(each: &Each, path: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut tell = |place: &[&str], message: &str, hint: &str| {
        let place = [path, &["each"], place].concat();
        problems.push(Problem::new("plan/each", message, &place).hint(hint));
    };
    match (&each.rows_of, each.values.is_empty()) {
        (None, true) => {
            tell(&[], "`each` names no values", "name a stage with `rows_of`, or list them with `values`")
        }
        (Some(_), false) => tell(&["values"], "`each` has both `rows_of` and `values`", "keep one of them"),
        (Some(_), true) => {
            if each.fields.is_empty() {
                let hint = "name the fields of a row that make the unit: `fields: [id]`";
                tell(&["rows_of"], "`rows_of` needs `fields`", hint);
            }
            if each.name.is_some() {
                tell(
                    &["as"],
                    "`as` belongs to `values`",
                    "with `rows_of` each field is a variable of its own name",
                );
            }
        }
        (None, false) => {
            if each.name.is_none() {
                let hint = "name the variable that each value is bound to: `as: region`";
                tell(&["values"], "`values` needs `as`", hint);
            }
            for (set, key) in [(!each.fields.is_empty(), "fields"), (!each.filter.is_empty(), "where")] {
                if set {
                    tell(
                        &[key],
                        &format!("`{key}` belongs to `rows_of`"),
                        "with `values` the values are what is listed",
                    );
                }
            }
        }
    }
    check_names(each, path, &mut problems);
    problems
}

fn check_names(each: &Each, path: &[&str], problems: &mut Vec<Problem>) {
    let mut tell = |slug: &str, place: &[&str], message: String, hint: &str| {
        let place = [path, &["each"], place].concat();
        problems.push(Problem::new(slug, message, &place).hint(hint));
    };
    let names =
        each.fields.iter().map(|name| ("fields", name)).chain(each.name.iter().map(|name| ("as", name)));
    for (key, name) in names.filter(|(_, name)| TAKEN.contains(&name.as_str())) {
        let what = if name == "run" { "the run" } else { "the unit's interval" };
        let message = format!("`{name}` is already what templates call {what}");
        let hint = if key == "as" {
            "choose another name"
        } else {
            "give the field another name in the stage before"
        };
        tell("plan/name-taken", &[key], message, hint);
    }
    for (at, field) in each.fields.iter().enumerate() {
        if each.fields[..at].contains(field) {
            tell("plan/each", &["fields"], format!("field `{field}` is named twice"), "name each field once");
        }
    }
    for (field, pattern) in &each.filter {
        if let Err(message) = whole(pattern) {
            tell(
                "plan/pattern",
                &["where", field],
                message,
                "a backslash before it makes a sign stand for itself",
            );
        }
    }
}
