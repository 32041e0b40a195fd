//! What is wrong with the steps of a stage, all of it at once.

use dil_model::Problem;
use dil_model::config::{Convert, Derive, Project};
use dil_model::template::Template;

use crate::time::{Reading, zone};

/// Says what is wrong with `steps`; `path` leads to them (`["stages", "orders", "convert"]`).
///
/// What depends on the rows, such as a column they do not have, comes up when the unit runs.
pub fn check(steps: &[Convert], path: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let number = number.to_string();
        match step {
            Convert::Derive(columns) => {
                for (name, derive) in columns {
                    let place = [path, &[&number, "derive", name]].concat();
                    check_derive(name, derive, &place, &mut problems);
                }
            }
            Convert::Project(project) => {
                check_project(project, &[path, &[&number, "project"]].concat(), &mut problems)
            }
            Convert::Cast(_) => {}
        }
    }
    problems
}

fn check_derive(name: &str, derive: &Derive, path: &[&str], problems: &mut Vec<Problem>) {
    let mut tell = |key: &str, slug: &str, message: String, hint: &str| {
        let place = if key.is_empty() { path.to_vec() } else { [path, &[key]].concat() };
        problems.push(Problem::new(slug, message, &place).hint(hint));
    };
    match (&derive.value, &derive.from) {
        (None, None) => {
            let hint = "say what it is made of: `value: \"{{ id }}\"` or `from: created`";
            tell("", "convert/derive", format!("column `{name}` is made of nothing"), hint);
        }
        (Some(_), Some(_)) => {
            tell(
                "from",
                "convert/derive",
                format!("column `{name}` has both `value` and `from`"),
                "keep one of them",
            );
        }
        _ => {}
    }
    match derive.value.as_deref().map(Template::parse) {
        Some(Err(message)) => tell("value", "convert/template", message, "an expression stands in {{ }}"),
        Some(Ok(template)) if !template.secrets().is_empty() => {
            let message = format!("column `{name}` would write a secret into the rows");
            tell("value", "convert/secret", message, "secrets belong to connections");
        }
        _ => {}
    }
    if let Some(Err(message)) = derive.reading.as_deref().map(Reading::parse) {
        tell(
            "as",
            "convert/reading",
            message,
            "write epoch_s, epoch_ms, iso, or a pattern like %d/%m/%Y %H:%M:%S",
        );
    }
    if let Some(Err(message)) = derive.timezone.as_deref().map(zone) {
        tell("timezone", "convert/timezone", message, "write an IANA name like Europe/Vienna, or UTC");
    }
}

fn check_project(project: &Project, path: &[&str], problems: &mut Vec<Problem>) {
    let mut tell = |key: &str, message: String, hint: &str| {
        let place = if key.is_empty() { path.to_vec() } else { [path, &[key]].concat() };
        problems.push(Problem::new("convert/project", message, &place).hint(hint));
    };
    if !project.keep.is_empty() && !project.drop.is_empty() {
        tell(
            "drop",
            "`project` has both `keep` and `drop`".into(),
            "what is not kept is dropped; leave `drop` out",
        );
    }
    if project.keep.is_empty() && project.drop.is_empty() && project.rename.is_empty() {
        tell("", "`project` does nothing".into(), "name columns under `keep`, `drop` or `rename`");
    }
    for (at, name) in project.keep.iter().enumerate() {
        if project.keep[..at].contains(name) {
            tell("keep", format!("column `{name}` is kept twice"), "to have it twice, derive a second one");
        }
    }
}
