//! How the next page is asked for.

use dil_model::config::{Absent, CursorPaging, Format, HttpRead, NextPaging, Paginate, PagingEnd};

use super::read::body_path;
use super::report::{At, Report};
use super::template::Names;

const CODE: &str = "http/paginate";

/// Adds the names that the paging defines for templates.
pub(crate) fn define(paginate: &Paginate, names: &mut Names) {
    names.add(defined(paginate).iter().copied());
}

fn defined(paginate: &Paginate) -> &'static [&'static str] {
    match paginate {
        Paginate::Cursor(_) => &["cursor"],
        Paginate::Next(_) => &[],
        Paginate::Offset(_) => &["offset", "size"],
        Paginate::Page(page) if page.size.is_some() => &["page", "size"],
        Paginate::Page(_) => &["page"],
    }
}

/// A unit's field of the same name could not be told from the paging's.
pub(crate) fn not_hidden(paginate: &Paginate, unit: &Names, at: &At, report: &mut Report) {
    for name in defined(paginate).iter().filter(|name| unit.contains(name)) {
        let message = format!("`{name}` is a variable of the unit and of this paging");
        report.key(CODE, at, message, "templates could not tell the two apart; rename the unit's one");
    }
}

/// Checks the paging; `used` are the names that the request's templates use.
pub(crate) fn check(
    paginate: &Paginate,
    http: &HttpRead,
    format: Format,
    used: &[String],
    at: &At,
    report: &mut Report,
) {
    let uses = |name: &str| used.iter().any(|used| used == name);
    match paginate {
        Paginate::Cursor(cursor) => {
            let at = at.key("cursor");
            cursor_paging(cursor, format, &at, report);
            param(cursor.param.as_deref(), http, &at.key("param"), report);
            sent(cursor.param.is_some() || uses("cursor"), "cursor", &at, report);
        }
        Paginate::Next(next) => next_paging(next, format, &at.key("next"), report),
        Paginate::Offset(offset) => {
            let at = at.key("offset");
            param(offset.param.as_deref(), http, &at.key("param"), report);
            param(offset.size_param.as_deref(), http, &at.key("size_param"), report);
            sent(offset.param.is_some() || uses("offset"), "offset", &at, report);
            end(&offset.end, format, &at.key("end"), report);
        }
        Paginate::Page(page) => {
            let at = at.key("page");
            param(page.param.as_deref(), http, &at.key("param"), report);
            param(page.size_param.as_deref(), http, &at.key("size_param"), report);
            sent(page.param.is_some() || uses("page"), "page", &at, report);
            end(&page.end, format, &at.key("end"), report);
            if page.size.is_none() && page.size_param.is_some() {
                report.key(CODE, &at.key("size_param"), "`size_param` has no size to send", "add `size`");
            }
            if page.size.is_none() && page.end == PagingEnd::Short {
                let hint = "add `size`: a page with fewer rows than that is the last one";
                report.value(
                    CODE,
                    &at.key("end"),
                    "`end: short` needs to know how many rows a full page has",
                    hint,
                );
            }
        }
    }
}

fn cursor_paging(cursor: &CursorPaging, format: Format, at: &At, report: &mut Report) {
    match (&cursor.body, &cursor.header) {
        (Some(body), None) => in_body(body, format, &at.key("body"), report),
        (None, Some(_)) => {}
        (Some(_), Some(_)) => {
            report.key(CODE, at, "the cursor is looked for in both `body` and `header`", "keep one of them")
        }
        (None, None) => {
            let hint = "add `body: meta.next` (where it is in the answer) or `header: NAME`";
            report.key(CODE, at, "nothing says where the cursor comes from", hint);
        }
    }
}

fn next_paging(next: &NextPaging, format: Format, at: &At, report: &mut Report) {
    match (&next.body, &next.link) {
        (Some(body), None) => in_body(body, format, &at.key("body"), report),
        (None, Some(_)) => {}
        (Some(_), Some(_)) => {
            report.key(CODE, at, "the next URL is looked for in both `body` and `link`", "keep one of them")
        }
        (None, None) => {
            let hint =
                "add `body: links.next` (where it is in the answer) or `link: next` (the `Link` header)";
            report.key(CODE, at, "nothing says where the next URL comes from", hint);
        }
    }
    if next.link.is_some() && next.absent == Absent::End {
        let hint = "leave it out: an answer without such a link is the last one anyway";
        report.key(CODE, &at.key("absent"), "`absent` goes with `body`", hint);
    }
}

fn in_body(path: &str, format: Format, at: &At, report: &mut Report) {
    body_path(path, at, report);
    if format != Format::Json {
        let hint = "use a header, or page by offset or number";
        report.key(CODE, at, "only a JSON body can be searched, and the format is another", hint);
    }
}

fn end(end: &PagingEnd, format: Format, at: &At, report: &mut Report) {
    match end {
        PagingEnd::Total(path) => in_body(path, format, &at.key("total"), report),
        PagingEnd::TotalPages(path) => in_body(path, format, &at.key("total_pages"), report),
        PagingEnd::Empty | PagingEnd::Short => {}
    }
}

fn sent(sent: bool, name: &str, at: &At, report: &mut Report) {
    if !sent {
        let hint =
            format!("add `param: NAME` for a query parameter, or use `{{{{ {name} }}}}` in the request");
        report.key(CODE, at, format!("the {name} is never sent, so every page would be the first one"), hint);
    }
}

fn param(name: Option<&str>, http: &HttpRead, at: &At, report: &mut Report) {
    let Some(name) = name else { return };
    if name.is_empty() {
        report.value(CODE, at, "the parameter has no name", "write the query parameter's name");
    } else if http.query.contains_key(name) {
        report.value(
            CODE,
            at,
            format!("`{name}` is sent twice: `query` has it as well"),
            "leave it out of `query`",
        );
    }
}
