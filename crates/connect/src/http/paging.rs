//! Decides on the next request. Nothing is guessed: what ends the paging is declared, and an answer that contradicts
//! the rule is an error, because going on would lose rows or read them twice.

use std::collections::BTreeMap;

use dil_model::component::PageFacts;
use dil_model::config::{
    Absent, CursorPaging, EqualPages, NextPaging, NumberPaging, OffsetPaging, Paginate, PagingEnd,
};
use dil_model::setting::Pattern;
use dil_model::template::Variables;
use dil_model::{Error, ErrorKind, Result};
use reqwest::header::{HeaderMap, LINK};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::circle::Circle;
use super::error::excerpt;
use super::link;
use super::mask::KnownSecrets;
use super::request::{PageRequest, remove_parameter};

/// The most pages one unit reads. A server that never ends is an error, not a full disk.
pub const PAGES_MAX: u64 = 10_000_000;

/// The most pages in a row that may be equal where equal pages are allowed.
const EQUAL_PAGES_MAX: u64 = 1_000;

/// Characters of a cursor or URL that a message shows.
const SHOWN_CHARS: usize = 120;

/// Which page is next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    /// The one that needs nothing from an answer.
    First,
    Cursor(Value),
    Next(String),
    Offset(u64),
    Page(u64),
    Done,
}

/// What is kept of a pager between two attempts.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    pages: u64,
    rows: u64,
    at: At,
}

/// The answer to the page that was just read.
pub(super) struct Answer {
    /// Where it came from, redirects followed.
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// A digest of the body.
    pub(super) digest: u64,
}

/// What a decision needs beside the answer.
pub(super) struct Surroundings<'a> {
    /// The connection's base: a next URL must share its origin.
    pub(super) base: &'a Url,
    pub(super) secrets: &'a KnownSecrets,
    /// A query parameter that must not be stored.
    pub(super) key_parameter: Option<&'a str>,
}

/// The state of paging through one unit.
pub(super) struct Pager {
    rule: Option<Paginate>,
    end: Option<Pattern>,
    at: At,
    pages: u64,
    rows: u64,
    circle: Circle,
    last_digest: Option<u64>,
    /// How many pages before the last one were equal to it, without a gap.
    equal_pages: u64,
}

impl Pager {
    /// Starts at the first page, or behind the last one that a note tells of.
    ///
    /// # Errors
    /// `Config` for a rule that cannot work, `Paging` for a note that does not fit the rule.
    pub(super) fn new(rule: Option<Paginate>, resume: Option<Value>) -> Result<Self> {
        if let Some(rule) = &rule {
            check_rule(rule)?;
        }
        let end = match &rule {
            Some(Paginate::Cursor(rule)) => rule.end.clone(),
            _ => None,
        };
        let mut note = Note { pages: 0, rows: 0, at: first(rule.as_ref()) };
        if let Some(resume) = resume {
            note = serde_json::from_value(resume).map_err(|cause| foreign_note(&cause.to_string()))?;
            if !fits(&note.at, rule.as_ref()) {
                return Err(foreign_note("the paging rule has changed since"));
            }
        }
        Ok(Self {
            rule,
            end,
            at: note.at,
            pages: note.pages,
            rows: note.rows,
            circle: Circle::default(),
            last_digest: None,
            equal_pages: 0,
        })
    }

    /// The paths whose values decisions are made on.
    pub(super) fn wanted(&self) -> Vec<String> {
        let path = match &self.rule {
            Some(Paginate::Cursor(rule)) => rule.body.as_ref(),
            Some(Paginate::Next(rule)) => rule.body.as_ref(),
            Some(Paginate::Offset(OffsetPaging { end, .. }) | Paginate::Page(NumberPaging { end, .. })) => {
                match end {
                    PagingEnd::Total(path) | PagingEnd::TotalPages(path) => Some(path),
                    PagingEnd::Empty | PagingEnd::Short => None,
                }
            }
            None => None,
        };
        path.cloned().into_iter().collect()
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// The number of the page that is next, counted from 1.
    pub(super) fn page_number(&self) -> u64 {
        self.pages + 1
    }

    /// Whether the digest of a page is looked at.
    pub(super) fn wants_digest(&self) -> bool {
        matches!(self.rule, Some(Paginate::Offset(_) | Paginate::Page(_)))
    }

    /// Adds what templates may use.
    pub(super) fn bind(&self, variables: &mut Variables) {
        let (name, value) = match &self.at {
            At::Cursor(cursor) => ("cursor", cursor.clone()),
            At::Offset(offset) => ("offset", (*offset).into()),
            At::Page(page) => ("page", (*page).into()),
            At::First | At::Next(_) | At::Done => return,
        };
        variables.insert(name.to_owned(), value);
        if let Some(size) = self.size() {
            variables.insert("size".to_owned(), size.into());
        }
    }

    fn size(&self) -> Option<u64> {
        match &self.rule {
            Some(Paginate::Offset(rule)) => Some(rule.size),
            Some(Paginate::Page(rule)) => rule.size,
            _ => None,
        }
    }

    /// What the next request carries.
    ///
    /// # Errors
    /// `Secret` if a stored URL refers to a secret that is gone.
    pub(super) fn request(&self, secrets: &KnownSecrets) -> Result<PageRequest> {
        if let At::Next(folded) = &self.at {
            let url = secrets.unfold(folded)?;
            let url = Url::parse(&url).map_err(|_| foreign_note("its URL cannot be read"))?;
            return Ok(PageRequest { url: Some(url), query: Vec::new() });
        }
        let mut query = Vec::new();
        let (value, param, size_param) = match (&self.rule, &self.at) {
            (Some(Paginate::Cursor(rule)), At::Cursor(cursor)) => (text_of(cursor), &rule.param, &None),
            (Some(Paginate::Offset(rule)), At::Offset(offset)) => {
                (offset.to_string(), &rule.param, &rule.size_param)
            }
            (Some(Paginate::Page(rule)), At::Page(page)) => (page.to_string(), &rule.param, &rule.size_param),
            _ => return Ok(PageRequest::default()),
        };
        query.extend(param.iter().map(|name| (name.clone(), value.clone())));
        if let (Some(name), Some(size)) = (size_param, self.size()) {
            query.push((name.clone(), size.to_string()));
        }
        Ok(PageRequest { url: None, query })
    }

    /// What to keep of it. Holds no credential.
    pub(super) fn note(&self) -> Value {
        let note = Note { pages: self.pages, rows: self.rows, at: self.at.clone() };
        serde_json::to_value(note).unwrap_or(Value::Null)
    }

    /// The page was read whole: decides on the next one.
    ///
    /// # Errors
    /// `Paging` if the answer contradicts the rule.
    pub(super) fn advance(
        &mut self,
        facts: &PageFacts,
        answer: &Answer,
        around: &Surroundings<'_>,
    ) -> Result<()> {
        let seen = Progress { pages: self.pages + 1, rows: self.rows + facts.rows, in_page: facts.rows };
        let counts = Counts { fields: &facts.fields, secrets: around.secrets };
        let at = match &self.rule {
            None => At::Done,
            Some(Paginate::Cursor(rule)) => self.after_cursor(rule, facts, answer, around)?,
            Some(Paginate::Next(rule)) => self.after_next(rule, facts, answer, around)?,
            // The rows received, not the rows asked for: a server may give fewer than that.
            Some(Paginate::Offset(rule)) if goes_on(&rule.end, Some(rule.size), seen, &counts)? => {
                At::Offset(rule.start + seen.rows)
            }
            Some(Paginate::Page(rule)) if goes_on(&rule.end, rule.size, seen, &counts)? => {
                At::Page(rule.start + seen.pages)
            }
            Some(Paginate::Offset(_) | Paginate::Page(_)) => At::Done,
        };
        self.refuse_circle(&at, answer, around)?;
        if self.wants_digest() && facts.rows > 0 {
            self.refuse_equal(answer.digest, seen.pages)?;
        }
        if seen.pages >= PAGES_MAX && at != At::Done {
            return Err(paging("http/pages", format!("there are more than {PAGES_MAX} pages")));
        }
        (self.at, self.pages, self.rows) = (at, seen.pages, seen.rows);
        Ok(())
    }

    fn after_cursor(
        &self,
        rule: &CursorPaging,
        facts: &PageFacts,
        answer: &Answer,
        around: &Surroundings<'_>,
    ) -> Result<At> {
        let found = match (&rule.body, &rule.header) {
            (Some(path), _) => facts.fields.get(path).cloned(),
            (None, Some(name)) => match answer.headers.get(name.as_str()) {
                None => None,
                Some(value) => Some(value.to_str().map(Value::from).map_err(|_| {
                    paging("http/cursor", format!("the cursor in header `{name}` is not a text"))
                })?),
            },
            (None, None) => None,
        };
        let Some(cursor) = found else {
            let place = rule.body.as_deref().ok_or_else(|| rule.header.as_deref().unwrap_or_default());
            return self.without_next(rule.absent, place, facts);
        };
        match &cursor {
            Value::Null => return Ok(At::Done),
            Value::String(text) if text.is_empty() => return Ok(At::Done),
            Value::String(_) | Value::Number(_) => {}
            other => {
                let shown = excerpt(&around.secrets.mask(&other.to_string()), SHOWN_CHARS);
                return Err(paging(
                    "http/cursor",
                    format!("the cursor is neither a text nor a number: {shown}"),
                ));
            }
        }
        let ended = self.end.as_ref().is_some_and(|end| end.matches(&text_of(&cursor)));
        Ok(if ended { At::Done } else { At::Cursor(cursor) })
    }

    fn after_next(
        &self,
        rule: &NextPaging,
        facts: &PageFacts,
        answer: &Answer,
        around: &Surroundings<'_>,
    ) -> Result<At> {
        if let Some(path) = &rule.body
            && !facts.fields.contains_key(path)
        {
            return self.without_next(rule.absent, Ok(path), facts);
        }
        next_page(rule, facts, answer, around)
    }

    /// Nothing stands at `place` (a path in the body, else a header), not even an empty value: the end, unless `place` is
    /// likely misspelt. A later page of the unit had it before, so there it is the end.
    fn without_next(&self, absent: Absent, place: Result<&str, &str>, facts: &PageFacts) -> Result<At> {
        if self.pages > 0 || facts.rows == 0 || absent == Absent::End {
            return Ok(At::Done);
        }
        let place = match place {
            Ok(path) => {
                let there = facts.absent.get(path).map(|there| format!("; {there}")).unwrap_or_default();
                format!("nothing at `{path}`, which should tell how to go on{there}")
            }
            Err(header) => format!("no header `{header}`, which should tell how to go on"),
        };
        Err(paging("http/cursor-missing", format!("the first page has {} rows and {place}", facts.rows))
            .hint("correct the place under `paginate`; if the API leaves it out where one page is all, set `absent: end` beside it"))
    }

    fn refuse_equal(&mut self, digest: u64, page: u64) -> Result<()> {
        if self.last_digest.replace(digest) != Some(digest) {
            self.equal_pages = 0;
            return Ok(());
        }
        self.equal_pages += 1;
        let rule = match &self.rule {
            Some(Paginate::Offset(rule)) => rule.equal_pages,
            Some(Paginate::Page(rule)) => rule.equal_pages,
            _ => return Ok(()),
        };
        match rule {
            EqualPages::Keep if self.equal_pages < EQUAL_PAGES_MAX => Ok(()),
            EqualPages::Keep => Err(paging(
                "http/page-repeated",
                format!("page {page} and the {EQUAL_PAGES_MAX} pages before it are byte for byte the same"),
            )
            .hint("the server seems to ignore the paging's parameters; check their names, or ask for larger pages")),
            EqualPages::Fail => Err(paging(
                "http/page-repeated",
                format!("page {page} is byte for byte the page before it"),
            )
            .hint("the server seems to ignore the paging's parameters: check their names; if its rows really are the same, set `equal_pages: keep`")),
        }
    }

    fn refuse_circle(&mut self, at: &At, answer: &Answer, around: &Surroundings<'_>) -> Result<()> {
        let (key, what) = match at {
            At::Cursor(cursor) => (text_of(cursor), "cursor"),
            At::Next(url) => (url.clone(), "next URL"),
            _ => return Ok(()),
        };
        if self.circle.is_new() {
            match &self.at {
                At::Cursor(cursor) => _ = self.circle.comes_again(&text_of(cursor)),
                At::Next(url) => _ = self.circle.comes_again(url),
                _ if matches!(at, At::Next(_)) => {
                    _ = self.circle.comes_again(&stored(answer.url.clone(), around))
                }
                _ => {}
            }
        }
        if !self.circle.comes_again(&key) {
            return Ok(());
        }
        let shown = excerpt(&around.secrets.mask(&key), SHOWN_CHARS);
        Err(paging(
            "http/cursor-repeated",
            format!("the {what} `{shown}` came twice, so the paging would never end"),
        )
        .hint("check which parameter of the request carries it, and what the API says about its last page"))
    }
}

fn first(rule: Option<&Paginate>) -> At {
    match rule {
        Some(Paginate::Offset(rule)) => At::Offset(rule.start),
        Some(Paginate::Page(rule)) => At::Page(rule.start),
        _ => At::First,
    }
}

fn fits(at: &At, rule: Option<&Paginate>) -> bool {
    matches!(
        (at, rule),
        (At::Done, _)
            | (At::First, None | Some(Paginate::Cursor(_) | Paginate::Next(_)))
            | (At::Cursor(_), Some(Paginate::Cursor(_)))
            | (At::Next(_), Some(Paginate::Next(_)))
            | (At::Offset(_), Some(Paginate::Offset(_)))
            | (At::Page(_), Some(Paginate::Page(_)))
    )
}

fn check_rule(rule: &Paginate) -> Result<()> {
    match rule {
        Paginate::Cursor(rule) if rule.body.is_some() == rule.header.is_some() => {
            Err(config("`paginate.cursor` needs either `body` or `header`".to_owned()))
        }
        Paginate::Next(rule) if rule.body.is_some() == rule.link.is_some() => {
            Err(config("`paginate.next` needs either `body` or `link`".to_owned()))
        }
        Paginate::Page(NumberPaging { size: None, end: PagingEnd::Short, .. }) => Err(config(
            "`paginate.page` with `end: short` needs `size`: how many rows a full page has".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// How far the reading got, the page just read included.
#[derive(Clone, Copy)]
struct Progress {
    pages: u64,
    rows: u64,
    in_page: u64,
}

fn goes_on(end: &PagingEnd, size: Option<u64>, seen: Progress, counts: &Counts<'_>) -> Result<bool> {
    Ok(match end {
        PagingEnd::Empty => seen.in_page > 0,
        PagingEnd::Short => seen.in_page >= size.unwrap_or(1).max(1),
        PagingEnd::TotalPages(path) => seen.pages < counts.at(path)?,
        PagingEnd::Total(path) => {
            let total = counts.at(path)?;
            if seen.in_page == 0 && seen.rows < total {
                let message =
                    format!("the paging ended after {} rows, but `{path}` says there are {total}", seen.rows);
                return Err(paging("http/total", message).hint("rows may have moved between pages while they were read; run again, or sort the request by something that does not change"));
            }
            seen.rows < total
        }
    })
}

/// The totals that a body declares.
struct Counts<'a> {
    fields: &'a BTreeMap<String, Value>,
    secrets: &'a KnownSecrets,
}

impl Counts<'_> {
    fn at(&self, path: &str) -> Result<u64> {
        let value = self.fields.get(path);
        let number = match value {
            Some(Value::Number(number)) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            Some(Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| {
            let shown = |value: &Value| format!("is {}", excerpt(&self.secrets.mask(&value.to_string()), 40));
            let found = value.map_or_else(|| "is missing".to_owned(), shown);
            paging("http/total", format!("the total at `{path}` {found}, not a count"))
                .hint("check the path under `paginate`, or let another `end` end the paging")
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a whole number that fits"
)]
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
}

fn next_page(rule: &NextPaging, facts: &PageFacts, answer: &Answer, around: &Surroundings<'_>) -> Result<At> {
    let Some(target) = next_target(rule, facts, &answer.headers, around.secrets)? else {
        return Ok(At::Done);
    };
    let show = |text: &str| excerpt(&around.secrets.mask(text), SHOWN_CHARS);
    let mut url = answer.url.join(&target).map_err(|cause| {
        paging("http/next-url", format!("the next URL `{}` cannot be read: {cause}", show(&target)))
    })?;
    url.set_fragment(None);
    if url.origin() != around.base.origin() {
        let message = format!(
            "the next page is at {}, the connection is to {}",
            url.origin().ascii_serialization(),
            around.base.origin().ascii_serialization()
        );
        return Err(paging("http/next-elsewhere", message)
            .hint("credentials are sent to the connection's own host only; if the other host is right, make it the connection's `base`"));
    }
    // The origin is the same, so neither call can fail: the URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(At::Next(stored(url, around)))
}

fn next_target(
    rule: &NextPaging,
    facts: &PageFacts,
    headers: &HeaderMap,
    secrets: &KnownSecrets,
) -> Result<Option<String>> {
    if let Some(path) = &rule.body {
        return match facts.fields.get(path) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Some(other) => {
                let shown = excerpt(&secrets.mask(&other.to_string()), SHOWN_CHARS);
                Err(paging("http/next-url", format!("the next URL at `{path}` is not a text: {shown}")))
            }
        };
    }
    let relation = rule.link.as_deref().unwrap_or("next");
    for header in headers.get_all(LINK) {
        let text = String::from_utf8_lossy(header.as_bytes());
        let target = link::target_of(&text, relation).map_err(|cause| {
            let shown = excerpt(&secrets.mask(&text), SHOWN_CHARS);
            paging("http/link", format!("the `Link` header cannot be read, {cause}: {shown}"))
        })?;
        if target.is_some() {
            return Ok(target);
        }
    }
    Ok(None)
}

/// A URL as a note may hold it: without the key, which every request adds again, and without secrets.
fn stored(mut url: Url, around: &Surroundings<'_>) -> String {
    if let Some(name) = around.key_parameter {
        remove_parameter(&mut url, name);
    }
    around.secrets.fold(url.as_str())
}

fn text_of(cursor: &Value) -> String {
    cursor.as_str().map_or_else(|| cursor.to_string(), str::to_owned)
}

fn paging(code: &str, message: String) -> Error {
    Error::new(ErrorKind::Paging, code, message)
        .hint("compare `paginate` with what the API's documentation says about its pages")
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, "http/paginate", message)
}

fn foreign_note(why: &str) -> Error {
    Error::new(ErrorKind::Paging, "http/position", format!("the unit's saved position cannot be used: {why}"))
        .hint("the unit is read again from its start")
}

#[cfg(test)]
mod tests;
