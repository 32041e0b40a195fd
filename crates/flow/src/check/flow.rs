//! The whole flow: names, connections, stages and what they share.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use dil_model::config::{Auth, Connection, Flow, HttpConnection, KeyPlace, Publish, Stage, Write, WriteMode};
use dil_model::setting::ByteSize;

use super::report::{At, Report};
use super::template::Names;
use super::{convert, order, read, template, units, write};

/// What the file says beside the typed flow, from which parts with problems are missing.
pub(crate) struct Outline {
    /// All stages' names.
    pub(crate) stages: Vec<String>,
    /// Whether `stages` is there and holds nothing.
    pub(crate) stages_empty: bool,
    /// All connections' names.
    pub(crate) connections: Vec<String>,
    /// Whatever stands at a key `rows_of`.
    pub(crate) rows_of: BTreeSet<String>,
    /// Every scalar and its path.
    pub(crate) texts: Vec<(Vec<String>, String)>,
}

/// Below this the buffers of one unit do not fit beside the program itself.
const MEMORY_MIN: ByteSize = ByteSize::mib(48);
/// Names become folders and keys of the ledger.
const NAME_CHARS_MAX: usize = 100;

/// Checks the meaning of a flow; gives the order of its stages and the problems.
pub(crate) fn check(flow: &Flow, outline: &Outline) -> (Vec<String>, Vec<dil_model::Problem>) {
    let mut report = Report::default();
    let root = At::default();
    names(flow, &root, &mut report);
    if flow.memory < MEMORY_MIN {
        let message = format!("`memory` is {}, too little to run in", flow.memory);
        report.value("flow/memory", &root.key("memory"), message, format!("give at least {MEMORY_MIN}"));
    }
    for (name, connection) in &flow.connections {
        let Connection::Http(http) = connection;
        http_connection(http, &root.key("connections").key(name).key("http"), &mut report);
    }
    if outline.stages_empty {
        report.key(
            "flow/no-stage",
            &root.key("stages"),
            "the flow has no stage",
            "add one: a name, and `read` below it",
        );
    }
    for (name, stage) in &flow.stages {
        let at = root.key("stages").key(name);
        self::stage(name, stage, &at, outline, &mut report);
    }
    let order = order::order(flow, &mut report);
    shared_paths(flow, &mut report);
    template::places(&outline.texts, &mut report);
    (order, report.problems)
}

fn names(flow: &Flow, root: &At, report: &mut Report) {
    let mut check = |kind: &str, name: &str, at: &At, on_key: bool| {
        let legal = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            && name.len() <= NAME_CHARS_MAX;
        if !legal {
            let message = format!("`{name}` cannot be the name of a {kind}");
            let hint = format!(
                "start with a letter, go on with letters, digits, `_` and `-`; {NAME_CHARS_MAX} characters at most"
            );
            if on_key {
                report.key("flow/name", at, message, hint)
            } else {
                report.value("flow/name", at, message, hint)
            }
        }
    };
    check("flow", &flow.flow, &root.key("flow"), false);
    for (section, kind, names) in [
        ("vars", "variable", flow.vars.keys().collect::<Vec<_>>()),
        ("connections", "connection", flow.connections.keys().collect()),
        ("stages", "stage", flow.stages.keys().collect()),
    ] {
        for name in names {
            check(kind, name, &root.key(section).key(name), true);
        }
    }
}

fn http_connection(http: &HttpConnection, at: &At, report: &mut Report) {
    base(&http.base, &at.key("base"), report);
    headers(http.headers.keys(), &at.key("headers"), report);
    if let Some(Auth::ApiKey(key)) = &http.auth {
        let at = at.key("auth").key("api_key").key("name");
        if key.place == KeyPlace::Header {
            header(&key.name, &at, report, Report::value);
        } else if key.name.is_empty() {
            report.value(
                "http/auth",
                &at,
                "the key's parameter has no name",
                "write the query parameter's name",
            );
        }
    }
}

fn base(base: &str, at: &At, report: &mut Report) {
    let code = "http/base";
    let url = match url::Url::parse(base) {
        Ok(url) => url,
        Err(cause) => {
            let message = match cause {
                url::ParseError::RelativeUrlWithoutBase => "`base` does not say how to get there".to_owned(),
                cause => format!("`base` is not a URL: {cause}"),
            };
            return report.value(code, at, message, "write it in full, like `https://api.example.com/v1`");
        }
    };
    // The URL may hold a password, so no message repeats it.
    if !matches!(url.scheme(), "http" | "https") {
        report.value(
            code,
            at,
            format!("`base` has the scheme `{}`", url.scheme()),
            "it starts with `https://` or `http://`",
        );
    } else if !url.username().is_empty() || url.password().is_some() {
        report.value(
            code,
            at,
            "`base` holds credentials",
            "put them under `auth`, the password as `${secret:NAME}`",
        );
    } else if url.query().is_some() || url.fragment().is_some() {
        report.value(
            code,
            at,
            "`base` has a `?` or `#` part",
            "put parameters under `read.http.query` of the stages",
        );
    }
}

/// The names of headers.
pub(crate) fn headers<'a>(names: impl Iterator<Item = &'a String>, at: &At, report: &mut Report) {
    for name in names {
        header(name, &at.key(name), report, Report::key);
    }
}

fn header(name: &str, at: &At, report: &mut Report, add: fn(&mut Report, &str, &At, String, &'static str)) {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        add(
            report,
            "http/header",
            at,
            format!("`{name}` cannot be the name of a header"),
            "a header's name has letters, digits and `-`",
        );
    }
}

fn stage(name: &str, stage: &Stage, at: &At, outline: &Outline, report: &mut Report) {
    let units = stage.units.clone().unwrap_or_default();
    units::check(&units, &at.key("units"), outline, report);
    let known = Names::of_unit(&units);
    read::check(&stage.read, &at.key("read"), &known, outline, report);
    for (index, conversion) in stage.convert.iter().enumerate() {
        convert::check(conversion, &at.key("convert").index(index), &known, report);
    }
    match &stage.write {
        Some(write) => write::check(write, stage, at, report),
        None if !outline.rows_of.contains(name) => {
            let message =
                format!("the rows of `{name}` go nowhere: it has no `write`, and no stage uses them");
            report.key(
                "stage/no-write",
                at,
                message,
                "add `write: { files: { path: out/, format: parquet } }`, or use it as `rows_of`",
            );
        }
        None if stage.publish == Publish::AllUnits => {
            let hint = "leave `publish` out: rows that only feed other stages are never visible";
            report.value(
                "stage/publish",
                &at.key("publish"),
                "there is nothing to publish without `write`",
                hint,
            );
        }
        None => {}
    }
}

/// Two stages in one folder would take each other's files for their own.
fn shared_paths(flow: &Flow, report: &mut Report) {
    let mut seen: Vec<(PathBuf, &str, WriteMode)> = Vec::new();
    for (name, stage) in &flow.stages {
        let Some(Write::Files(files)) = &stage.write else { continue };
        let path = normal(&files.path);
        let clash = seen.iter().find(|(other, _, mode)| {
            let replaces = *mode == WriteMode::Replace || files.mode == WriteMode::Replace;
            *other == path || (replaces && (other.starts_with(&path) || path.starts_with(other)))
        });
        if let Some((other, other_stage, _)) = clash {
            let message = if *other == path {
                format!("`{other_stage}` writes to `{}` as well", files.path)
            } else {
                format!(
                    "one of `{name}` and `{other_stage}` writes inside the other's folder, and `mode: replace` would remove it"
                )
            };
            let at = At::default().key("stages").key(name).key("write").key("files").key("path");
            report.value("write/shared-path", &at, message, "give each stage a folder of its own");
        }
        seen.push((path, name, files.mode));
    }
}

/// The path without `.` and without `..` where it can be told.
fn normal(path: &str) -> PathBuf {
    let mut out = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::normal;

    #[test]
    fn one_folder_has_one_path() {
        for path in ["out", "./out/", "out/.", "out/x/..", "a/../out//"] {
            assert_eq!(normal(path), Path::new("out"), "{path}");
        }
        assert_eq!(normal("../out"), Path::new("../out"));
        assert_ne!(normal("/out"), normal("out"));
    }
}
