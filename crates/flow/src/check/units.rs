//! How the work is divided.

use std::collections::BTreeSet;

use dil_model::config::{Each, KeyUnits, TimeUnits, Units};
use dil_model::setting::{Bound, Every};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::flow::Outline;
use super::report::{At, Report};
use crate::nearest::suggestion;

pub(crate) fn check(units: &Units, at: &At, outline: &Outline, report: &mut Report) {
    let reserved: &[&str] = match &units.key {
        Some(key) if key.field.is_some() => &["run", "after"],
        None if units.time.is_none() => &["run"],
        _ => &["run", "low", "high"],
    };
    let cross = units.cross.iter().enumerate().map(|(index, each)| (each, at.key("cross").index(index)));
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (each, at) in units.each.iter().map(|each| (each, at.key("each"))).chain(cross) {
        self::each(each, &at, outline, report);
        for (index, name) in each.names().into_iter().enumerate() {
            let literal = each.rows_of.is_none() && each.name.is_some();
            let at = if literal { at.key("as") } else { at.key("fields").index(index) };
            self::reserved(name, reserved, &at, report);
            let stands_twice = each.fields.iter().filter(|field| *field == name).count() > 1;
            if !names.insert(name) && !stands_twice {
                let message = format!("`{name}` is the name of another value of the unit");
                report.value(
                    "units/repeated-name",
                    &at,
                    message,
                    "take different fields, or different names",
                );
            }
        }
    }
    if units.each.is_none() && !units.cross.is_empty() {
        let hint = "write the first list as `each`, and the others as `cross`";
        report.key("units/each", &at.key("cross"), "`cross` goes with `each`", hint);
    }
    if let Some(time) = &units.time {
        self::time(units, time, &at.key("time"), report);
    }
    if let Some(key) = &units.key {
        self::key(units, key, &at.key("key"), report);
    }
    if units.max.is_some_and(|max| max < units.min) {
        let message = "`min` is more than `max`, so every run would fail";
        report.value("units/min-max", &at.key("min"), message, "make it less than `max`");
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
    repeated(each.version.iter().map(String::as_str), &at.key("version"), "the field", report);
    for (index, field) in each.version.iter().enumerate().filter(|(_, field)| each.fields.contains(field)) {
        let message = format!("`{field}` is one of `fields`: every version would be a unit of its own");
        report.value(code, &at.key("version").index(index), message, "keep it in one of the two lists");
    }
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
    let given = [
        ("fields", !each.fields.is_empty()),
        ("version", !each.version.is_empty()),
        ("where", !each.filter.is_empty()),
    ];
    for (key, present) in given {
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

fn key(units: &Units, key: &KeyUnits, at: &At, report: &mut Report) {
    let code = "units/key";
    if units.time.is_some() {
        report.key(code, at, "a stage is divided by `time` or by `key`, not by both", "keep one of them");
    }
    match (&key.field, key.every) {
        (Some(_), None) => {
            if key.to.is_some() || key.from != 0 {
                let hint = "leave `from` and `to` out: what was seen is where the next run begins";
                report.key(code, at, "`field` reads on without an end", hint);
            }
        }
        (None, Some(every)) => {
            match key.to {
                None => report.key(code, at, "`every` needs `to`", "say where the keys end, or take `field`"),
                Some(to) if to <= key.from => {
                    let message =
                        format!("the range is empty: `to` ({to}) is not after `from` ({})", key.from);
                    report.value(code, &at.key("to"), message, "`to` is the first key that is left out");
                }
                Some(_) => {}
            }
            if every < 1 {
                report.value(
                    code,
                    &at.key("every"),
                    "a unit must hold a key at least",
                    "write a number from 1",
                );
            }
        }
        (Some(_), Some(_)) => {
            report.key(code, at, "`key` has both `every` and `field`", "keep one of them");
        }
        (None, None) => {
            let hint =
                "write `field: id` to read on from the greatest value seen, or `from`, `to` and `every`";
            report.key(code, at, "`key` says neither `every` nor `field`", hint);
        }
    }
}

fn time(units: &Units, time: &TimeUnits, at: &At, report: &mut Report) {
    let zone = zone(&time.timezone, &at.key("timezone"), report);
    let from = bound(&time.from, &at.key("from"), "from", report);
    let to = bound(&time.to, &at.key("to"), "to", report);
    let fixed = |bound: &Option<Bound>| {
        bound
            .as_ref()
            .filter(|bound| bound.is_fixed())
            .and_then(|bound| bound.resolve(Timestamp::UNIX_EPOCH, &zone))
    };
    if let (Some(from), Some(to)) = (fixed(&from), fixed(&to))
        && from >= to
    {
        let message = format!("the range is empty: `to` ({}) is not after `from` ({})", time.to, time.from);
        let hint = "`to` is the first instant that is left out";
        report.value("units/empty-range", &at.key("to"), message, hint);
    }
    steps(time, fixed(&from), fixed(&to), &zone, at, report);
    late(units, time, from.as_ref(), to.as_ref(), at, report);
}

/// `then`: each at a fixed instant inside the range, in the order of time.
fn steps(
    time: &TimeUnits,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    zone: &TimeZone,
    at: &At,
    report: &mut Report,
) {
    let mut before = from;
    for (index, then) in time.then.iter().enumerate() {
        let at = at.key("then").index(index).key("from");
        let Some(bound) = bound(&then.from, &at, "from", report) else { continue };
        let Some(begin) = Some(&bound)
            .filter(|bound| bound.is_fixed())
            .and_then(|bound| bound.resolve(Timestamp::UNIX_EPOCH, zone))
        else {
            let hint =
                "write a date: were it to move, units would change their names, and be read a second time";
            report.value("units/then", &at, format!("`{}` moves with now", then.from), hint);
            continue;
        };
        if before.is_some_and(|before| begin <= before) {
            let message = format!("`{}` is not after where the intervals before it begin", then.from);
            report.value(
                "units/then",
                &at,
                message,
                "list interval lengths in the order of time, each after `from`",
            );
        } else if to.is_some_and(|to| begin >= to) {
            let message = format!("`{}` is not before `to` ({})", then.from, time.to);
            report.value(
                "units/then",
                &at,
                message,
                "no interval would have this length; remove it, or move `to`",
            );
        }
        before = Some(begin);
    }
}

fn late(
    units: &Units,
    time: &TimeUnits,
    from: Option<&Bound>,
    to: Option<&Bound>,
    at: &At,
    report: &mut Report,
) {
    let code = "units/late";
    let undivided = time.every == Every::None && time.then.is_empty();
    let window = from.is_some_and(|from| !from.is_fixed()) && undivided;
    let (grows, late) = (to.is_some_and(|to| !to.is_fixed()), time.late);
    if late.is_some() && time.grace.is_none() {
        let hint = "add `grace`, how far back late rows may appear, or leave `late` out";
        report.key(code, &at.key("late"), "`late` goes with `grace`", hint);
    }
    if time.grace.is_some() && (units.snapshot || window) {
        let hint = "all of it is read in every run, late rows with it; leave `grace` out";
        report.key(
            code,
            &at.key("grace"),
            "`grace` does not go with a range that is read in full every time",
            hint,
        );
    } else if time.grace.is_some() && undivided && grows && late.is_none() {
        let hint = "write `late: reread` (all of the range is read in every run, and its files exchanged) or `late: append` \
                    (the stretch of `grace` is read again, and its rows come twice); or cut the range with `every`";
        report.key(
            code,
            &at.key("grace"),
            "how late rows of a range that grows and is not cut are read is not said",
            hint,
        );
    }
    if window && time.partial == dil_model::config::Partial::Drop {
        report.key(code, &at.key("partial"), "a window that moves is never cut short", "leave `partial` out");
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

fn bound(text: &str, at: &At, key: &str, report: &mut Report) -> Option<Bound> {
    if let Some(bound) = Bound::parse(text).filter(|bound| key != "from" || *bound != Bound::Now) {
        return Some(bound);
    }
    let hint = match (text, key) {
        ("now", "from") => "`from` is where the range begins: a date, or so long before now (P30D)",
        (_, "to") => {
            "write `now`, a date (2024-01-31), a date and time (2024-01-31T06:00:00, with Z or an offset if it is not in `timezone`), or how long before now (P1D)"
        }
        _ => {
            "write a date (2024-01-31), a date and time (2024-01-31T06:00:00, with Z or an offset if it is not in `timezone`), or how long before now (P30D)"
        }
    };
    report.value("units/instant", at, format!("`{text}` is not an instant"), hint);
    None
}
