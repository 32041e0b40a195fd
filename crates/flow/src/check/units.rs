//! How the work is divided.

use std::collections::BTreeSet;

use dil_model::config::{Each, TimeUnits, Units};
use dil_model::setting::Instant;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::flow::Outline;
use super::report::{At, Report};
use crate::nearest::suggestion;

pub(crate) fn check(units: &Units, at: &At, outline: &Outline, report: &mut Report) {
    if let Some(each) = &units.each {
        self::each(each, &at.key("each"), outline, report);
        let reserved: &[&str] = if units.time.is_some() { &["run", "low", "high"] } else { &["run"] };
        for (name, at) in each
            .fields
            .iter()
            .enumerate()
            .map(|(index, field)| (field, at.key("each").key("fields").index(index)))
        {
            self::reserved(name, reserved, &at, report);
        }
        if let Some(name) = &each.name {
            self::reserved(name, reserved, &at.key("each").key("as"), report);
        }
    }
    if let Some(time) = &units.time {
        self::time(time, &at.key("time"), report);
    }
}

fn reserved(name: &str, reserved: &[&str], at: &At, report: &mut Report) {
    if reserved.contains(&name) {
        let message = format!("`{name}` is a name that every unit has already");
        report.value(
            "units/reserved-name",
            at,
            message,
            "templates could not tell the two apart; choose another name",
        );
    }
}

fn each(each: &Each, at: &At, outline: &Outline, report: &mut Report) {
    let code = "units/each";
    match (&each.rows_of, each.values.is_empty()) {
        (Some(stage), true) => {
            if !outline.stages.contains(stage) {
                let hint = suggestion(stage, outline.stages.iter().map(String::as_str), "the stages are");
                report.value(
                    "units/unknown-stage",
                    &at.key("rows_of"),
                    format!("there is no stage `{stage}`"),
                    hint,
                );
            }
            if each.fields.is_empty() {
                let hint = "name what makes a unit, for example `fields: [id]`";
                report.key(code, at, "`rows_of` needs `fields`", hint);
            }
            if each.name.is_some() {
                let hint = "leave it out: each field is a variable of its own name";
                report.key(code, &at.key("as"), "`as` goes with `values`, not with `rows_of`", hint);
            }
        }
        (None, false) => values(each, at, report),
        (Some(_), false) => {
            report.key(code, at, "`each` has both `rows_of` and `values`", "keep one of them")
        }
        (None, true) => {
            let hint = "write `rows_of: STAGE` with `fields`, or `values: [a, b]` with `as`";
            report.key(code, at, "`each` names no values", hint);
        }
    }
    repeated(each.fields.iter().map(String::as_str), &at.key("fields"), "the field", report);
}

fn values(each: &Each, at: &At, report: &mut Report) {
    let code = "units/each";
    match &each.name {
        None => report.key(
            code,
            at,
            "`values` needs `as`",
            "name the variable that holds the value, for example `as: region`",
        ),
        Some(name) => {
            let legal = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !legal {
                let hint = "start with a letter, go on with letters, digits and `_`";
                report.value(
                    code,
                    &at.key("as"),
                    format!("`{name}` cannot be a variable in a template"),
                    hint,
                );
            }
        }
    }
    for (key, present) in [("fields", !each.fields.is_empty()), ("where", !each.filter.is_empty())] {
        if present {
            report.key(
                code,
                &at.key(key),
                format!("`{key}` goes with `rows_of`, not with `values`"),
                "leave it out",
            );
        }
    }
    repeated(each.values.iter().map(|value| value.0.as_str()), &at.key("values"), "the value", report);
}

/// Reports what stands twice in a list, or is empty.
pub(crate) fn repeated<'a>(entries: impl Iterator<Item = &'a str>, at: &At, kind: &str, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (index, entry) in entries.enumerate() {
        if entry.is_empty() {
            report.value(
                "list/empty-entry",
                &at.index(index),
                format!("{kind} is empty"),
                "write its text, or remove the entry",
            );
        } else if !seen.insert(entry) {
            report.value(
                "list/repeated-entry",
                &at.index(index),
                format!("{kind} `{entry}` stands twice"),
                "remove one of them",
            );
        }
    }
}

fn time(time: &TimeUnits, at: &At, report: &mut Report) {
    let zone = zone(&time.timezone, &at.key("timezone"), report);
    let from = instant(&time.from, &zone, &at.key("from"), "from", report);
    if time.to == "now" {
        return;
    }
    let to = instant(&time.to, &zone, &at.key("to"), "to", report);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        let message = format!("the range is empty: `to` ({}) is not after `from` ({})", time.to, time.from);
        report.value(
            "units/empty-range",
            &at.key("to"),
            message,
            "`to` is the first instant that is left out",
        );
    }
}

/// A zone of the database; UTC in place of one that is reported.
pub(crate) fn zone(name: &str, at: &At, report: &mut Report) -> TimeZone {
    TimeZone::get(name).unwrap_or_else(|_| {
        let zones: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        let hint = match crate::nearest::nearest(name, zones.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write an IANA name, like `UTC` or `Europe/Vienna`".to_owned(),
        };
        report.value("time/zone", at, format!("there is no time zone `{name}`"), hint);
        TimeZone::UTC
    })
}

fn instant(text: &str, zone: &TimeZone, at: &At, key: &str, report: &mut Report) -> Option<Timestamp> {
    if let Some(instant) = Instant::parse(text).and_then(|instant| instant.in_zone(zone)) {
        return Some(instant);
    }
    let hint = match (text, key) {
        ("now", "from") => "`from` is a fixed instant; `now` is for `to`",
        (_, "to") => {
            "write `now`, a date (2024-01-31), or a date and time (2024-01-31T06:00:00, with Z or an offset if it is not in `timezone`)"
        }
        _ => {
            "write a date (2024-01-31), or a date and time (2024-01-31T06:00:00, with Z or an offset if it is not in `timezone`)"
        }
    };
    report.value("units/instant", at, format!("`{text}` is not an instant"), hint);
    None
}
