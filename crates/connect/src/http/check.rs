//! What an answer must be before its bytes count as rows.

use std::time::SystemTime;

use dil_model::config::Format;
use dil_model::{Error, ErrorKind, Result};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use url::Url;

use super::error::{Failure, excerpt};
use super::retry;

/// Characters of an error's body that a message shows.
const ERROR_CHARS: usize = 300;

/// Characters of an unexpected body that a message shows.
const BODY_CHARS: usize = 200;

/// What to do with an answer, by its head alone.
pub(super) enum Verdict {
    /// Its body is the page.
    Page,
    /// Go there.
    Redirect(Url),
    /// Its body tells what is wrong.
    Failed,
}

/// Looks at status and `Location`.
pub(super) fn verdict(status: StatusCode, headers: &HeaderMap, url: &Url) -> Verdict {
    if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        let target = headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url.join(to).ok());
        return target.map_or(Verdict::Failed, Verdict::Redirect);
    }
    if matches!(status.as_u16(), 200..=203) { Verdict::Page } else { Verdict::Failed }
}

/// The error of an answer whose status means failure; `body` is its masked beginning.
pub(super) fn failed(status: StatusCode, headers: &HeaderMap, body: &str, auth_advice: &str) -> Failure {
    let asked = retry::asked_wait(status, headers, SystemTime::now());
    let (kind, code) = match status.as_u16() {
        // Some hosts count requests and refuse with 403 those beyond the quota.
        403 if asked.is_some() => (ErrorKind::Status, "http/quota"),
        401 | 403 => (ErrorKind::Auth, "http/refused"),
        204..=206 => (ErrorKind::Content, "http/no-content"),
        _ => (ErrorKind::Status, "http/status"),
    };
    let mut message = format!("the server answered {status}");
    let quoted = excerpt(body, ERROR_CHARS);
    if !quoted.is_empty() {
        message.push_str(&format!(": {quoted}"));
    }
    let mut error = Error::new(kind, code, message);
    let quota = kind == ErrorKind::Status && status == StatusCode::FORBIDDEN;
    if quota || retry::is_passing(status) {
        error = match asked {
            Some(wait) => error.retry_after(wait),
            None => error.retryable(),
        };
    }
    if let Some(hint) = hint(status, kind, auth_advice) {
        error = error.hint(hint);
    }
    if quota || retry::is_turned_away(status) { Failure::unprocessed(error) } else { error.into() }
}

fn hint(status: StatusCode, kind: ErrorKind, auth_advice: &str) -> Option<String> {
    Some(match status.as_u16() {
        _ if kind == ErrorKind::Auth => auth_advice.to_owned(),
        404 | 410 => "check the stage's `path` and the connection's `base`".to_owned(),
        400 | 422 => "check the names and values under `query`, `headers` and `json`".to_owned(),
        405 => "check the stage's `method`".to_owned(),
        429 | 403 => "set or lower `limit.requests` of the connection".to_owned(),
        408 | 500..=599 => "the other side is in trouble: run again later, or raise `retry.attempts` and `retry.within` of the connection".to_owned(),
        204..=206 => "an answer without a body, or with part of one, is no page of rows".to_owned(),
        _ => return None,
    })
}

/// The content types that a read accepts.
pub(super) struct ContentTypes {
    patterns: Vec<String>,
}

impl ContentTypes {
    /// Those of the flow, else those of the format.
    pub(super) fn new(declared: &[String], format: Format) -> Self {
        let of_format: &[&str] = match format {
            Format::Json => &["application/json", "text/json", "*/*+json"],
            Format::Ndjson => &[
                "application/x-ndjson",
                "application/ndjson",
                "application/jsonl",
                "application/x-jsonl",
                "application/jsonlines",
                "application/x-jsonlines",
                "application/x-json-stream",
                "application/stream+json",
                "application/json",
                "text/plain",
                "application/octet-stream",
                "binary/octet-stream",
            ],
            Format::Parquet | Format::Avro => &[],
            Format::Csv => &[
                "text/csv",
                "application/csv",
                "text/x-csv",
                "application/x-csv",
                "text/comma-separated-values",
                "text/tab-separated-values",
                "text/plain",
                "application/octet-stream",
                "binary/octet-stream",
            ],
        };
        let patterns = if declared.is_empty() {
            of_format.iter().map(ToString::to_string).collect()
        } else {
            declared.iter().map(|pattern| pattern.trim().to_ascii_lowercase()).collect()
        };
        Self { patterns }
    }

    /// Whether a body of this type may hold the rows. A server that names no type is believed.
    pub(super) fn accept(&self, content_type: Option<&HeaderValue>) -> bool {
        let Some(essence) = content_type.map(essence).filter(|essence| !essence.is_empty()) else {
            return true;
        };
        self.patterns.iter().any(|pattern| matches(pattern, &essence))
    }

    /// The error of a body of another type; `body` is its masked beginning.
    pub(super) fn refused(&self, headers: &HeaderMap, body: &str) -> Error {
        let came = excerpt(&headers.get(CONTENT_TYPE).map(essence).unwrap_or_default(), 80);
        let expected = self.patterns.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let mut message = format!("the answer is {came}, not {expected}");
        let quoted = excerpt(body, BODY_CHARS);
        if !quoted.is_empty() {
            message.push_str(&format!("; it begins: {quoted}"));
        }
        let hint = if came == "text/html" {
            "a web page often means a wrong path or missing credentials; if the rows are in it, set `content_type: [\"text/html\"]`".to_owned()
        } else {
            format!("if the rows are in it all the same, set `content_type: [\"{came}\"]`")
        };
        Error::new(ErrorKind::Content, "http/content-type", message).hint(hint)
    }
}

/// The `charset` that the answer declares, in lowercase, unless it is UTF-8 or a part of that.
pub(super) fn foreign_charset(headers: &HeaderMap) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes()).to_ascii_lowercase();
    let charset = text.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        (name.trim() == "charset").then(|| excerpt(value.trim().trim_matches(['"', '\'']), 40))
    })?;
    (!matches!(charset.as_str(), "" | "utf-8" | "utf8" | "us-ascii" | "ascii")).then_some(charset)
}

/// Refuses what cannot be told from rows of zeros. Other charsets have ASCII inside: their bytes are believed to be UTF-8 until
/// one is not, because many servers declare one that they do not send.
///
/// # Errors
/// `Content`, naming the charset.
pub(super) fn readable_charset(headers: &HeaderMap) -> Result<()> {
    match foreign_charset(headers) {
        Some(charset) if charset.starts_with("utf-16") || charset.starts_with("utf-32") => {
            let message = format!("the answer is declared to be in {charset}, and only UTF-8 can be read");
            Err(Error::new(ErrorKind::Content, "http/charset", message)
                .hint("ask the server for UTF-8, for example with `headers: { Accept-Charset: utf-8 }`"))
        }
        _ => Ok(()),
    }
}

/// The type without its parameters, in lowercase.
fn essence(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn matches(pattern: &str, essence: &str) -> bool {
    if pattern == "*" || pattern == "*/*" || pattern == essence {
        return true;
    }
    let Some((kind, name)) = pattern.split_once('/') else { return false };
    let Some((came_kind, came_name)) = essence.split_once('/') else { return false };
    let fits = |pattern: &str, came: &str| match pattern.strip_prefix('*') {
        Some(ending) => came.ends_with(ending),
        None => pattern == came,
    };
    fits(kind, came_kind) && fits(name, came_name)
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
}

/// Reads `Content-Encoding`.
///
/// # Errors
/// `Content` for one that was not asked for.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding> {
    let mut encoding = Encoding::Plain;
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in essence(value).split(',').map(str::trim) {
            encoding = match (name, encoding) {
                ("" | "identity", encoding) => encoding,
                ("gzip" | "x-gzip", Encoding::Plain) => Encoding::Gzip,
                _ => {
                    let message =
                        format!("the body is packed as `{}`, which was not asked for", excerpt(name, 40));
                    return Err(Error::new(ErrorKind::Content, "http/encoding", message)
                        .hint("only gzip can be taken off; check `headers` for another Accept-Encoding"));
                }
            };
        }
    }
    Ok(encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(declared: &[&str], format: Format, came: &str) -> bool {
        let declared: Vec<String> = declared.iter().map(ToString::to_string).collect();
        ContentTypes::new(&declared, format).accept(Some(&came.parse().unwrap()))
    }

    #[test]
    fn each_format_has_its_content_types() {
        assert!(accepts(&[], Format::Json, "application/json; charset=utf-8"));
        assert!(accepts(&[], Format::Json, "Application/VND.api+JSON"));
        assert!(!accepts(&[], Format::Json, "text/html"));
        assert!(!accepts(&[], Format::Json, "text/plain"));
        assert!(accepts(&[], Format::Csv, "text/plain"));
        assert!(!accepts(&[], Format::Csv, "text/html; charset=utf-8"));
        assert!(accepts(&[], Format::Ndjson, "application/x-ndjson"));
        assert!(ContentTypes::new(&[], Format::Json).accept(None));
    }

    #[test]
    fn the_flow_may_declare_others() {
        assert!(accepts(&["*"], Format::Json, "text/html"));
        assert!(accepts(&["text/*"], Format::Json, "text/html"));
        assert!(!accepts(&["text/*"], Format::Json, "application/json"));
        assert!(accepts(&["Text/Plain"], Format::Json, "text/plain"));
    }

    #[test]
    fn a_charset_matters_if_it_is_not_utf8() {
        let headers = |text: &str| HeaderMap::from_iter([(CONTENT_TYPE, text.parse().unwrap())]);
        let foreign = |text: &str| foreign_charset(&headers(text));
        assert_eq!(
            foreign("text/csv; header=present; Charset=\"ISO-8859-1\""),
            Some("iso-8859-1".to_owned())
        );
        for text in ["text/csv", "text/csv; charset=UTF-8", "text/csv;charset=us-ascii", "text/csv; charset"]
        {
            assert_eq!(foreign(text), None, "{text}");
        }
        assert_eq!(foreign_charset(&HeaderMap::new()), None);
        assert!(readable_charset(&headers("text/csv; charset=windows-1252")).is_ok());
        assert_eq!(
            readable_charset(&headers("text/csv; charset=UTF-16LE")).unwrap_err().code,
            "http/charset"
        );
    }

    #[test]
    fn a_quota_is_told_from_a_refusal() {
        let mut headers = HeaderMap::new();
        let refused = failed(StatusCode::FORBIDDEN, &headers, "", "check the token").error;
        assert_eq!((refused.kind, refused.hint.as_deref()), (ErrorKind::Auth, Some("check the token")));
        headers.insert("retry-after", HeaderValue::from_static("3"));
        let quota = failed(StatusCode::FORBIDDEN, &headers, "", "").error;
        assert_eq!(quota.retry, dil_model::Retry::After(std::time::Duration::from_secs(3)));
    }
}
