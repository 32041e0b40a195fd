//! Templates: that they parse, use names that exist where they stand, and stand where they are resolved.

use std::collections::BTreeSet;

use dil_model::config::Units;
use dil_model::template::Template;
use serde_json::Value;

use super::report::{At, Report};
use crate::nearest::{list, nearest};

/// The names that templates of one place may use.
#[derive(Clone, Default)]
pub(crate) struct Names {
    known: BTreeSet<String>,
}

/// Functions of the template language itself.
const FUNCTIONS: [&str; 3] = ["dict", "namespace", "range"];
/// The members of `run`.
const RUN_MEMBERS: [&str; 2] = ["run.full", "run.id"];

impl Names {
    /// What the unit brings: the fields or the name of its *each*, its interval, and the run.
    pub(crate) fn of_unit(units: &Units) -> Self {
        let mut names = Self::default();
        for each in units.lists() {
            names.add(each.names());
        }
        match &units.key {
            Some(key) if key.field.is_some() => names.add(["after"]),
            None if units.time.is_none() => {}
            _ => names.add(["low", "high"]),
        }
        names.add(["run"]);
        names
    }

    pub(crate) fn add<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.known.extend(names.into_iter().map(str::to_owned));
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    fn hint_for(&self, name: &str) -> String {
        if let Some(near) = nearest(name, self.known.iter().map(String::as_str)) {
            return format!("did you mean `{near}`?");
        }
        match name {
            "low" | "high" => {
                format!("`{name}` exists where the stage has `units.time`, or `units.key` with `every`")
            }
            "after" => "`after` exists where the stage has `units.key` with `field`".to_owned(),
            "cursor" | "offset" | "page" | "size" => {
                format!("`{name}` exists where `paginate` defines it, in `read.http`")
            }
            _ => format!("the names here are {}", list(self.known.iter().map(String::as_str))),
        }
    }
}

/// Checks one template; gives the names it uses.
pub(crate) fn check(text: &str, at: &At, names: &Names, report: &mut Report) -> Vec<String> {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(message) => {
            let (what, advice) = message
                .split_once("; ")
                .unwrap_or((&message, "an expression looks like `{{ id }}` or `{{ low | iso }}`"));
            report.value("template/syntax", at, format!("the template does not parse: {what}"), advice);
            return Vec::new();
        }
    };
    let used: Vec<String> = template.names().into_iter().collect();
    for name in &used {
        let root = name.split('.').next().unwrap_or(name);
        if root == "run" && name != "run" && !RUN_MEMBERS.contains(&name.as_str()) {
            let message = format!("there is no `{name}`");
            report.value("template/unknown-name", at, message, format!("the run has {}", list(RUN_MEMBERS)));
        } else if !names.contains(root) && !FUNCTIONS.contains(&root) {
            report.value(
                "template/unknown-name",
                at,
                format!("there is no `{root}` for this template"),
                names.hint_for(root),
            );
        }
    }
    used
}

/// Checks every text inside a JSON body.
pub(crate) fn check_json(value: &Value, at: &At, names: &Names, report: &mut Report) -> Vec<String> {
    match value {
        Value::String(text) => check(text, at, names, report),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(index, item)| check_json(item, &at.index(index), names, report))
            .collect(),
        Value::Object(members) => {
            members.iter().flat_map(|(key, member)| check_json(member, &at.key(key), names, report)).collect()
        }
        _ => Vec::new(),
    }
}

/// Finds templates and secrets that stand where they would be taken for plain text.
pub(crate) fn places(texts: &[(Vec<String>, String)], report: &mut Report) {
    for (path, text) in texts {
        let steps: Vec<&str> = path.iter().map(String::as_str).collect();
        let at = path.iter().fold(At::default(), |at, step| at.key(step));
        if steps.last() == Some(&"description") && (steps.len() == 1 || steps.len() == 3) {
            continue;
        }
        if text.contains("${secret:") && !takes_secrets(&steps) {
            let hint = "secrets are resolved in `auth` and `headers` of a connection, and in `query`, `headers`, `json` and `form` of `read.http`";
            report.value("secret/place", &at, "a secret cannot stand here", hint);
        }
        if (text.contains("{{") || text.contains("{%")) && !takes_templates(&steps) {
            let hint = "templates are resolved in `path`, `query`, `headers`, `json` and `form` of `read.http`, in `path` of `read.files`, \
                        and in `value` of `derive`";
            report.value("template/place", &at, "a template is not resolved here", hint);
        }
    }
}

fn takes_secrets(path: &[&str]) -> bool {
    matches!(
        path,
        ["connections", _, "http", "auth" | "headers", ..]
            | ["stages", _, "read", "http", "query" | "headers" | "json" | "form", ..]
    )
}

fn takes_templates(path: &[&str]) -> bool {
    matches!(
        path,
        ["stages", _, "read", "http", "path" | "query" | "headers" | "json" | "form", ..]
            | ["stages", _, "read", "files", "path"]
            | ["stages", _, "convert", _, "derive", _, "value"]
    )
}
