//! What is done to rows.

use std::collections::BTreeMap;

use dil_model::config::{Convert, Derive, Project};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::report::{At, Report};
use super::template::{self, Names};
use super::units::{repeated, zone};
use crate::nearest::suggestion;

/// The named ways to read a time; anything else is a pattern.
const READINGS: [&str; 3] = ["epoch_s", "epoch_ms", "iso"];

pub(crate) fn check(conversion: &Convert, at: &At, names: &Names, report: &mut Report) {
    match conversion {
        Convert::Derive(columns) => {
            let at = at.key("derive");
            nothing(columns.is_empty(), &at, report);
            for (name, column) in columns {
                column_name(name, &at.key(name), report);
                derive(column, &at.key(name), names, report);
            }
        }
        Convert::Project(project) => self::project(project, &at.key("project"), report),
        Convert::Cast(columns) => {
            let at = at.key("cast");
            nothing(columns.is_empty(), &at, report);
            for name in columns.keys() {
                column_name(name, &at.key(name), report);
            }
        }
    }
}

fn nothing(empty: bool, at: &At, report: &mut Report) {
    if empty {
        report.key("convert/nothing", at, "this conversion names no column", "name one, or remove it");
    }
}

/// A name that a file can hold.
pub(crate) fn column_name(name: &str, at: &At, report: &mut Report) {
    if name.trim().is_empty() {
        report.key("convert/column-name", at, "a column has no name", "write one");
    }
}

fn derive(column: &Derive, at: &At, names: &Names, report: &mut Report) {
    let code = "convert/derive";
    match (&column.value, &column.from) {
        (Some(value), None) => {
            template::check(value, &at.key("value"), names, report);
            for (key, present) in [("as", column.reading.is_some()), ("timezone", column.timezone.is_some())]
            {
                if present {
                    let hint = "leave it out; in a template write `{{ low | date(timezone='UTC') }}`";
                    report.key(
                        code,
                        &at.key(key),
                        format!("`{key}` goes with `from`, not with `value`"),
                        hint,
                    );
                }
            }
        }
        (None, Some(from)) => {
            if from.split('.').any(str::is_empty) {
                let hint = "write a column, or `a.b` for member `b` of column `a`";
                report.value(code, &at.key("from"), format!("`{from}` is not a column"), hint);
            }
            if let Some(reading) = &column.reading {
                self::reading(reading, &at.key("as"), report);
            }
            if let Some(name) = &column.timezone {
                zone(name, &at.key("timezone"), report);
            }
        }
        (Some(_), Some(_)) => {
            report.key(code, at, "the column has both `value` and `from`", "keep one of them")
        }
        (None, None) => {
            let hint =
                "write `value: \"{{ id }}\"` for the unit's own values, or `from: COLUMN` for another column";
            report.key(code, at, "the column is made of nothing", hint);
        }
    }
}

fn reading(reading: &str, at: &At, report: &mut Report) {
    if READINGS.contains(&reading) {
        return;
    }
    if !reading.contains('%') {
        let hint = suggestion(reading, READINGS, "a pattern is like `%d/%m/%Y`, and there are");
        return report.value(
            "convert/reading",
            at,
            format!("`{reading}` does not say how a time is spelt"),
            hint,
        );
    }
    // Writing some instant by the pattern tells whether its directives exist.
    let some = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    if let Err(cause) = jiff::fmt::strtime::format(reading, &some) {
        let hint = "year %Y, month %m, day %d, hour %H, minute %M, second %S, fraction %.f, offset %z";
        report.value("convert/reading", at, format!("`{reading}` is not a pattern: {cause}"), hint);
    }
}

fn project(project: &Project, at: &At, report: &mut Report) {
    nothing(project.keep.is_empty() && project.drop.is_empty() && project.rename.is_empty(), at, report);
    if !project.keep.is_empty() && !project.drop.is_empty() {
        report.key(
            "convert/project",
            at,
            "`keep` and `drop` stand together",
            "keep one: what `keep` does not name is dropped",
        );
    }
    repeated(project.keep.iter().map(String::as_str), &at.key("keep"), "the column", report);
    repeated(project.drop.iter().map(String::as_str), &at.key("drop"), "the column", report);
    let at = at.key("rename");
    let mut targets: BTreeMap<&str, &str> = BTreeMap::new();
    for (old, new) in &project.rename {
        let at = at.key(old);
        if new.trim().is_empty() {
            report.value(
                "convert/rename",
                &at,
                format!("the new name of `{old}` is empty"),
                "write one, or use `drop`",
            );
            continue;
        }
        let left_out =
            project.drop.contains(old) || (!project.keep.is_empty() && !project.keep.contains(old));
        if left_out {
            let hint = "rename only what stays; renaming comes after `keep` and `drop`";
            report.key("convert/rename", &at, format!("`{old}` is renamed but not kept"), hint);
        }
        if let Some(first) = targets.insert(new, old) {
            report.value(
                "convert/rename",
                &at,
                format!("`{first}` and `{old}` both become `{new}`"),
                "give them different names",
            );
        } else if project.keep.contains(new) && !project.rename.contains_key(new) {
            report.value(
                "convert/rename",
                &at,
                format!("`{new}` is a column that is kept already"),
                "choose another name",
            );
        }
    }
}
