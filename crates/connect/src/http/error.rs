//! What becomes of the HTTP client's errors.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use dil_model::setting::HumanDuration;
use dil_model::{Error, ErrorKind};
use url::Url;

/// A request that gave no page.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) processed: Processed,
}

/// Whether the other side may have acted on a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Processed {
    /// It never left, or was turned away.
    No,
    /// Its bytes may have arrived.
    Perhaps,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, processed: Processed::Perhaps }
    }
}

impl Failure {
    pub(super) fn unprocessed(error: Error) -> Self {
        Self { error, processed: Processed::No }
    }
}

/// The innermost cause, which says most.
pub(super) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A request without an answer.
pub(super) fn unanswered(cause: &reqwest::Error, url: &Url, connect: Duration) -> Failure {
    let place = place(url);
    if cause.is_builder() {
        let message = format!("the request cannot be sent: {}", root_cause(cause));
        let error = Error::new(ErrorKind::Config, "http/request", message);
        return Failure::unprocessed(error.hint("check `path`, `query` and `headers` of the stage"));
    }
    if !cause.is_connect() {
        let text = root_cause(cause);
        let message = format!("{place} gave no answer: {text}");
        return Error::new(ErrorKind::Network, "http/no-answer", message)
            .hint(unanswered_hint(&text))
            .retryable()
            .into();
    }
    if cause.is_timeout() {
        let within = HumanDuration(connect);
        let error = Error::new(
            ErrorKind::Network,
            "http/connect-timeout",
            format!("no connection to {place} within {within}"),
        );
        return Failure::unprocessed(
            error.hint("check the network and firewalls on the way, or raise `timeout.connect`").retryable(),
        );
    }
    Failure::unprocessed(unconnected(cause, &place))
}

/// What to do about an answer that did not come; `cause` is what hyper says of it.
fn unanswered_hint(cause: &str) -> &'static str {
    if cause.contains("too large") {
        "the headers of its answer are larger than any real ones: look at what the server sends (`curl -I`), often cookies that pile up"
    } else if cause.starts_with("invalid HTTP") {
        "what answers there does not speak HTTP: check scheme and port of the connection's `base`"
    } else if cause.contains("timed out") {
        "the connection went dead on the way: run again; if that does not help, look at the network and firewalls on the way"
    } else {
        "the server closed the connection: run again; if that does not help, look at the server's log"
    }
}

fn unconnected(cause: &reqwest::Error, place: &str) -> Error {
    let text = root_cause(cause);
    let message = format!("connecting to {place}: {text}");
    let chain = chain(cause);
    if chain.contains("certificate") || chain.contains("handshake") || chain.contains("TLS") {
        return Error::new(ErrorKind::Network, "http/tls", format!("no secure connection to {place}: {text}"))
            .hint("check that the server speaks https at this port, and that its certificate is for this host and trusted by this system");
    }
    let error = Error::new(ErrorKind::Network, "http/connect", message).retryable();
    if chain.contains("dns error") {
        return error.hint("check the host name in the connection's `base`");
    }
    match io_kind(cause) {
        Some(io::ErrorKind::ConnectionRefused) => {
            error.hint("check that the server runs there, and the host and port in the connection's `base`")
        }
        _ => error.hint("check the connection's `base`, and the network on the way"),
    }
}

fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<io::Error>() {
            return Some(found.kind());
        }
        cause = current.source();
    }
    None
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(current) = cause {
        text.push_str(&current.to_string());
        text.push('\n');
        cause = current.source();
    }
    text
}

/// Host and port, as a user would write them.
pub(super) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the host");
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The beginning of a text from outside, on one line, control characters escaped.
pub(super) fn excerpt(text: &str, chars_max: usize) -> String {
    let mut short = String::new();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (count, c) in words.chars().enumerate() {
        if count == chars_max {
            short.push('…');
            break;
        }
        if c.is_control() { short.extend(c.escape_default()) } else { short.push(c) }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt("a\r\n  b\u{1b}[31m", 20), "a b\\u{1b}[31m");
        assert_eq!(excerpt("äöüäöü", 3), "äöü…");
    }
}
