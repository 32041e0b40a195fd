//! Where rows come from.

use dil_model::config::{
    CsvOptions, FilesRead, Format, HttpRead, ListRead, Method, OtherColumns, Read, RowsMissing,
};

use super::flow::{Outline, headers};
use super::report::{At, Report};
use super::template::{self, Names};
use super::write::local_path;
use super::{convert, paginate};
use crate::nearest::suggestion;

pub(crate) fn check(read: &Read, at: &At, unit: &Names, outline: &Outline, report: &mut Report) {
    match (&read.http, &read.files, &read.list) {
        (Some(http), None, None) => self::http(http, read.format(), &at.key("http"), unit, outline, report),
        (None, Some(files), None) => self::files(files, &at.key("files"), unit, report),
        (None, None, Some(list)) => self::list(read, list, at, unit, report),
        (None, None, None) => {
            let hint = "add `http: { connection: NAME, path: /… }`, `files: { path: in/*.csv }`, or `list: { path: in/*.csv }` for the names alone";
            report.key("read/source", at, "`read` names no source", hint);
        }
        _ => {
            let sources = [
                ("`http`", read.http.is_some()),
                ("`files`", read.files.is_some()),
                ("`list`", read.list.is_some()),
            ];
            let sources: Vec<&str> =
                sources.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect();
            let message = format!("`read` has {}", sources.join(" and "));
            report.key("read/source", at, message, "keep one; two sources are two stages");
        }
    }
    format(read, at, report);
    for name in read.columns.keys() {
        convert::column_name(name, &at.key("columns").key(name), report);
    }
    if read.other_columns != OtherColumns::Infer && read.columns.is_empty() {
        let hint = "declare the columns, or leave `other_columns` out";
        report.value(
            "read/columns",
            &at.key("other_columns"),
            "no column is declared, so all are other columns",
            hint,
        );
    }
}

fn format(read: &Read, at: &At, report: &mut Report) {
    if read.known_format().is_none() && (read.http.is_some() || read.files.is_some()) {
        let hint = match &read.files {
            Some(_) => {
                "say how the rows are spelt, for example `format: csv`; `path` has no ending that tells"
            }
            None => "say how the rows are spelt, for example `format: json`",
        };
        report.key("read/format", at, "`format` is missing", hint);
        return;
    }
    let format = read.format();
    if format.is_columnar() && read.http.is_some() {
        let hint =
            "these formats are read from files: fetch the file first, and read it in a stage of its own";
        report.value("read/format", &at.key("format"), "an API is not read in this format", hint);
    }
    let json = format == Format::Json;
    if let Some(path) = &read.rows_at {
        let at = at.key("rows_at");
        if json {
            body_path(path, &at, report);
        } else {
            report.key(
                "read/format",
                &at,
                "`rows_at` goes with `format: json`",
                "leave it out; other formats are rows all through",
            );
        }
    }
    if read.rows_missing == RowsMissing::Empty && !json {
        report.key(
            "read/format",
            &at.key("rows_missing"),
            "`rows_missing` goes with `format: json`",
            "leave it out",
        );
    }
    if let Some(csv) = &read.csv {
        let at = at.key("csv");
        if format == Format::Csv {
            self::csv(csv, &at, report);
        } else {
            report.key(
                "read/format",
                &at,
                "`csv` goes with `format: csv`",
                "leave it out, or change the format",
            );
        }
    }
}

/// Keys joined by dots.
pub(crate) fn body_path(path: &str, at: &At, report: &mut Report) {
    let plain = path.trim_start_matches('$').trim_start_matches('.').replace("[*]", "").replace('/', ".");
    if path.is_empty()
        || path.split('.').any(str::is_empty)
        || path.starts_with(['$', '/'])
        || path.contains("[*]")
    {
        let hint = match plain.trim_matches('.') {
            "" => "write keys joined by dots, like `data.items`; leave it out where the page itself is meant"
                .to_owned(),
            plain => format!("write keys joined by dots: `{plain}`"),
        };
        report.value("read/body-path", at, format!("`{path}` is not a path into the body"), hint);
    }
}

fn csv(csv: &CsvOptions, at: &At, report: &mut Report) {
    let one = |text: &str| matches!(text.as_bytes(), [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0));
    if !one(&csv.delimiter) {
        let message = format!("`{}` is not one ASCII character", csv.delimiter.escape_debug());
        let hint = "write one character; a tab is \"\\t\" in double quotes";
        report.value("read/csv", &at.key("delimiter"), message, hint);
    }
    if csv.quote.is_empty() {
        return;
    }
    if !one(&csv.quote) {
        let message = format!("`{}` is not one ASCII character", csv.quote.escape_debug());
        let hint = "write one character, or \"\" if the file quotes nothing";
        report.value("read/csv", &at.key("quote"), message, hint);
    } else if csv.delimiter == csv.quote {
        let message = format!("`{}` is both delimiter and quote", csv.delimiter.escape_debug());
        report.value("read/csv", &at.key("quote"), message, "they must differ");
    }
}

fn files(files: &FilesRead, at: &At, unit: &Names, report: &mut Report) {
    let at_path = at.key("path");
    local_path(&files.path, &at_path, "read/path", report);
    template::check(&files.path, &at_path, unit, report);
    if files.chunk.0 == 0 {
        report.value(
            "read/chunk",
            &at.key("chunk"),
            "nothing is read by reading no bytes at once",
            "write a size like 256KiB",
        );
    }
}

fn list(read: &Read, list: &ListRead, at: &At, unit: &Names, report: &mut Report) {
    let at_path = at.key("list").key("path");
    local_path(&list.path, &at_path, "read/path", report);
    template::check(&list.path, &at_path, unit, report);
    if read.format.is_some() {
        report.key("read/format", &at.key("format"), "a listing has no format", "leave it out");
    }
    if !read.columns.is_empty() {
        let hint = "leave it out; to have fewer columns, write `convert: [ { project: { keep: [path] } } ]`";
        report.key(
            "read/columns",
            &at.key("columns"),
            "a listing has columns of its own: path, name, size, modified",
            hint,
        );
    }
}

fn http(http: &HttpRead, format: Format, at: &At, unit: &Names, outline: &Outline, report: &mut Report) {
    if !outline.connections.contains(&http.connection) {
        let hint = if outline.connections.is_empty() {
            format!("add it: `connections: {{ {}: {{ http: {{ base: https://… }} }} }}`", http.connection)
        } else {
            suggestion(
                &http.connection,
                outline.connections.iter().map(String::as_str),
                "the connections are",
            )
        };
        let message = format!("there is no connection `{}`", http.connection);
        report.value("http/unknown-connection", &at.key("connection"), message, hint);
    }
    path(&http.path, &at.key("path"), report);
    headers(http.headers.keys(), &at.key("headers"), report);
    body(http, at, report);

    let mut names = unit.clone();
    if let Some(paginate) = &http.paginate {
        paginate::define(paginate, &mut names);
    }
    let mut used = template::check(&http.path, &at.key("path"), &names, report);
    for (key, value) in &http.headers {
        used.extend(template::check(value, &at.key("headers").key(key), &names, report));
    }
    for (section, entries) in [("query", &http.query), ("form", &http.form)] {
        for (key, value) in entries {
            used.extend(template::check(&value.0, &at.key(section).key(key), &names, report));
        }
    }
    if let Some(json) = &http.json {
        used.extend(template::check_json(json, &at.key("json"), &names, report));
    }
    if let Some(paginate) = &http.paginate {
        paginate::check(paginate, http, format, &used, &at.key("paginate"), report);
        paginate::not_hidden(paginate, unit, &at.key("paginate"), report);
    }
}

fn path(path: &str, at: &At, report: &mut Report) {
    let lower = path.trim_start().to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") || lower.starts_with("//") {
        let hint = "write what comes after the connection's `base`; another host is another connection";
        report.value("http/path", at, "the path is a whole URL", hint);
    } else if outside_of_templates(path).contains(['?', '#']) {
        report.value("http/path", at, "the path has a `?` or `#` part", "put the parameters under `query`");
    }
}

/// The text with its template expressions left out.
fn outside_of_templates(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once("{{") {
        out.push_str(before);
        rest = inside.split_once("}}").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

fn body(http: &HttpRead, at: &At, report: &mut Report) {
    let form = !http.form.is_empty();
    if http.json.is_some() && form {
        report.key(
            "http/body",
            &at.key("form"),
            "the request has two bodies, `json` and `form`",
            "keep one of them",
        );
    } else if http.method == Method::Get && (http.json.is_some() || form) {
        let key = if form { "form" } else { "json" };
        let hint = "add `method: POST`, or use `query`";
        report.key(
            "http/body",
            &at.key(key),
            format!("a GET request has no body, and here is `{key}`"),
            hint,
        );
    }
    for (index, accepted) in http.content_type.iter().enumerate() {
        if accepted != "*" && !accepted.contains('/') {
            let message = format!("`{accepted}` is not a content type");
            report.value(
                "http/content-type",
                &at.key("content_type").index(index),
                message,
                "write one like `application/json`, or `*`",
            );
        }
    }
}
