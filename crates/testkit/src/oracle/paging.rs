//! How the next page is asked for, in every way that clients must know.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

/// How many rows a page has unless the request says otherwise.
const SIZE_DEFAULT: usize = 100;

/// The most rows a request may ask for.
const SIZE_MAX: usize = 1000;

/// The way of paging that a path's first segment names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `cursor`: a cursor at `meta.next_cursor`, after the rows.
    Cursor,
    /// `cursor-header`: a cursor in the header `X-Next-Cursor`.
    CursorHeader,
    /// `search`: as `cursor`, by `POST` with the parameters in a JSON body.
    Search,
    /// `next`: the next page's URL at `links.next`, after the rows.
    Next,
    /// `link`: the next page's URL in the `Link` header.
    Link,
    /// `offset`: `offset` and `limit`; the end is a page without rows.
    Offset,
    /// `total`: `offset` and `limit`; `meta.total` says how many rows there are.
    Total,
    /// `page`: `page`, from 1, and `per_page`; the end is a page without rows.
    Page,
    /// `pages`: `page` and `per_page`; `meta.pages` says how many there are.
    Pages,
    /// `single`: one page of everything.
    Single,
    /// `csv`: everything as one CSV.
    Csv,
    /// `ndjson`: everything, one JSON object a line.
    Ndjson,
}

impl Style {
    /// The style of a path's first segment.
    pub(crate) fn of(segment: &str) -> Option<Self> {
        Some(match segment {
            "cursor" => Self::Cursor,
            "cursor-header" => Self::CursorHeader,
            "search" => Self::Search,
            "next" => Self::Next,
            "link" => Self::Link,
            "offset" => Self::Offset,
            "total" => Self::Total,
            "page" => Self::Page,
            "pages" => Self::Pages,
            "single" => Self::Single,
            "csv" => Self::Csv,
            "ndjson" => Self::Ndjson,
            _ => return None,
        })
    }

    /// The parameters it understands, beside `from` and `to`.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Cursor | Self::CursorHeader | Self::Search => &["cursor", "limit"],
            Self::Next | Self::Link => &["after", "limit"],
            Self::Offset | Self::Total => &["offset", "limit"],
            Self::Page | Self::Pages => &["page", "per_page"],
            Self::Single | Self::Csv | Self::Ndjson => &[],
        }
    }

    fn size_parameter(self) -> &'static str {
        if matches!(self, Self::Page | Self::Pages) { "per_page" } else { "limit" }
    }
}

/// What a request asks for.
pub(crate) type Parameters = BTreeMap<String, String>;

/// A page that was cut out of all rows.
pub(crate) struct Page {
    /// The rows in it, as places in the list of all.
    pub(crate) rows: std::ops::Range<usize>,
    /// What stands in the body beside the rows.
    pub(crate) beside: Value,
    /// A header that tells of the next page.
    pub(crate) header: Option<(&'static str, String)>,
}

/// Refuses parameters that the style does not know; a client that sends one expects something that will not happen.
pub(crate) fn check(style: Style, parameters: &Parameters, has_interval: bool) -> Result<(), String> {
    for name in parameters.keys() {
        let known =
            style.parameters().contains(&name.as_str()) || (has_interval && (name == "from" || name == "to"));
        if !known {
            return Err(format!("unknown parameter `{name}`"));
        }
    }
    Ok(())
}

/// Cuts the page out of `total` rows. `base` is the address of the first page, without parameters of paging.
pub(crate) fn cut(style: Style, parameters: &Parameters, total: usize, base: &str) -> Result<Page, String> {
    let size = size(style, parameters)?;
    let start = start(style, parameters, size, base)?;
    let end = total.min(start.saturating_add(size));
    let rows = start.min(total)..end.max(start.min(total));
    let more = (end < total).then(|| format!("{:x}.{end}", fingerprint(base)));
    let next_url = |cursor: &String| {
        let joint = if base.contains('?') { '&' } else { '?' };
        format!("{base}{joint}after={cursor}&limit={size}")
    };
    let (beside, header) = match style {
        Style::Cursor | Style::Search => (json!({ "meta": { "next_cursor": more } }), None),
        Style::CursorHeader => (json!({}), more.map(|cursor| ("x-next-cursor", cursor))),
        Style::Next => (json!({ "links": { "next": more.as_ref().map(next_url) } }), None),
        Style::Link => {
            let link = more
                .as_ref()
                .map(|cursor| format!("<{}>; rel=\"next\", <{base}>; rel=\"first\"", next_url(cursor)));
            (json!({}), link.map(|link| ("link", link)))
        }
        Style::Total => (json!({ "meta": { "total": total } }), None),
        Style::Pages => (json!({ "meta": { "pages": total.div_ceil(size) } }), None),
        _ => (json!({}), None),
    };
    Ok(Page { rows, beside, header })
}

fn size(style: Style, parameters: &Parameters) -> Result<usize, String> {
    if matches!(style, Style::Single | Style::Csv | Style::Ndjson) {
        return Ok(usize::MAX);
    }
    let name = style.size_parameter();
    let size = number(parameters, name)?.unwrap_or(SIZE_DEFAULT);
    if size == 0 || size > SIZE_MAX {
        return Err(format!("`{name}` must be between 1 and {SIZE_MAX}"));
    }
    Ok(size)
}

fn start(style: Style, parameters: &Parameters, size: usize, base: &str) -> Result<usize, String> {
    let cursor = |name: &str| -> Result<usize, String> {
        let Some(cursor) = parameters.get(name) else { return Ok(0) };
        let own = cursor.split_once('.').filter(|(print, _)| *print == format!("{:x}", fingerprint(base)));
        own.and_then(|(_, place)| place.parse().ok())
            .ok_or_else(|| format!("`{cursor}` is no cursor of this list"))
    };
    match style {
        Style::Cursor | Style::CursorHeader | Style::Search => cursor("cursor"),
        Style::Next | Style::Link => cursor("after"),
        Style::Offset | Style::Total => Ok(number(parameters, "offset")?.unwrap_or(0)),
        Style::Page | Style::Pages => match number(parameters, "page")?.unwrap_or(1) {
            0 => Err("`page` counts from 1".to_owned()),
            page => Ok((page - 1) * size),
        },
        Style::Single | Style::Csv | Style::Ndjson => Ok(0),
    }
}

fn number(parameters: &Parameters, name: &str) -> Result<Option<usize>, String> {
    parameters
        .get(name)
        .map(|text| text.parse().map_err(|_| format!("`{name}` must be a number, not `{text}`")))
        .transpose()
}

/// Ties a cursor to its list, so that one of another list is refused.
fn fingerprint(base: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    base.hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).unwrap_or(0)
}
