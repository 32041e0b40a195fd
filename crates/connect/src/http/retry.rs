//! How often, and after which waits, a page is asked for again.

use std::time::{Duration, Instant, SystemTime};

use dil_model::config::RequestRetry;
use dil_model::setting::HumanDuration;
use dil_model::{Error, ErrorKind, Result, Retry};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The tries that one page may take.
pub(super) struct Budget {
    policy: RequestRetry,
    tries: u32,
    began: Option<Instant>,
}

impl Budget {
    pub(super) fn new(policy: RequestRetry) -> Self {
        Self { policy, tries: 0, began: None }
    }

    /// A request for the page leaves now; gives how many did before.
    pub(super) fn count_try(&mut self) -> u32 {
        self.began.get_or_insert_with(Instant::now);
        self.tries += 1;
        self.tries - 1
    }

    /// The next page has its own budget.
    pub(super) fn renew(&mut self) {
        self.tries = 0;
        self.began = None;
    }

    /// How long to wait before the next try.
    ///
    /// # Errors
    /// `error` itself if a retry cannot help or the budget does not allow one; what it says then names the bound.
    pub(super) fn wait_after(&self, error: Error) -> Result<Duration> {
        self.wait(error, self.began.map_or(Duration::ZERO, |began| began.elapsed()), rand::random::<f64>())
    }

    fn wait(&self, mut error: Error, spent: Duration, chance: f64) -> Result<Duration> {
        let asked = match error.retry {
            _ if !may_pass(&error) => return Err(error),
            Retry::No | Retry::Yes => Duration::ZERO,
            Retry::After(wait) => wait,
        };
        if self.tries >= self.policy.attempts {
            let tries = self.tries;
            return Err(error.at(if tries == 1 {
                "tried once".to_owned()
            } else {
                format!("tried {tries} times")
            }));
        }
        // Half of the wait is sure, the other half is left to chance, so that units which failed together do not come
        // back together.
        let backoff = self.policy.wait.before(self.tries.max(1)).mul_f64(0.5 + chance / 2.0);
        let wait = backoff.max(asked);
        let within = self.policy.within;
        if spent.saturating_add(wait) <= within.0 {
            return Ok(wait);
        }
        if asked > Duration::ZERO {
            let asked = HumanDuration(asked);
            error.message = format!(
                "{}; the server asks to wait {asked}, longer than what is left of {within}",
                error.message
            );
            return Err(error.hint("run again later, or raise `retry.within` of the connection"));
        }
        Err(error.at(format!("given up after {} tries within {within}", self.tries)))
    }

    /// The longest that other units should be held back because of what one answer asked for.
    pub(super) fn within(&self) -> Duration {
        self.policy.within.0
    }
}

/// Whether asking again may help. A page that stops inside a value is broken for the moment, whoever notices.
pub(super) fn may_pass(error: &Error) -> bool {
    error.retry != Retry::No || error.kind == ErrorKind::Truncated
}

/// Whether an answer of this status may be another one soon.
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Whether a server that answers with this status did not act on the request.
pub(super) fn is_turned_away(status: StatusCode) -> bool {
    matches!(status.as_u16(), 425 | 429 | 503)
}

/// What `Retry-After` asks for: seconds, or a date. A date is compared with the server's own clock where it tells it.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let said = headers
        .get(DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| httpdate::parse_http_date(date).ok());
    Some(until.duration_since(said.unwrap_or(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use dil_model::setting::Waits;
    use reqwest::header::HeaderValue;

    use super::*;

    fn budget(tries: u32) -> Budget {
        let policy = RequestRetry {
            attempts: 4,
            within: HumanDuration::secs(60),
            wait: Waits { first: HumanDuration::secs(1), longest: HumanDuration::secs(20) },
        };
        Budget { policy, tries, began: None }
    }

    fn failed() -> Error {
        Error::new(ErrorKind::Status, "http/status", "answered 503").retryable()
    }

    #[test]
    fn waits_double_and_jitter_takes_at_most_half() {
        let wait =
            |tries, chance| budget(tries).wait(failed(), Duration::ZERO, chance).unwrap().as_secs_f64();
        assert_eq!([wait(1, 1.0), wait(2, 1.0), wait(3, 1.0)], [1.0, 2.0, 4.0]);
        assert_eq!([wait(1, 0.0), wait(2, 0.0), wait(3, 0.0)], [0.5, 1.0, 2.0]);
    }

    #[test]
    fn the_attempts_are_a_bound() {
        let spent = budget(4).wait(failed(), Duration::ZERO, 0.0).unwrap_err();
        assert_eq!(spent.to_string(), "answered 503, tried 4 times");
    }

    #[test]
    fn the_time_is_a_bound() {
        assert!(budget(1).wait(failed(), Duration::from_secs(59), 1.0).is_ok());
        assert!(budget(1).wait(failed(), Duration::from_secs(60), 1.0).is_err());
    }

    #[test]
    fn what_cannot_help_is_not_repeated() {
        let error = Error::new(ErrorKind::Content, "http/content-type", "a web page");
        assert_eq!(budget(1).wait(error, Duration::ZERO, 0.0).unwrap_err().to_string(), "a web page");
    }

    #[test]
    fn a_truncated_page_is_repeated_whoever_found_it() {
        let error = Error::new(ErrorKind::Truncated, "json/truncated", "the page stops inside a value");
        assert!(budget(1).wait(error, Duration::ZERO, 0.0).is_ok());
    }

    #[test]
    fn the_servers_wish_is_obeyed_or_said_to_be_too_long() {
        let asks = |seconds| failed().retry_after(Duration::from_secs(seconds));
        assert_eq!(budget(1).wait(asks(30), Duration::ZERO, 0.0).unwrap(), Duration::from_secs(30));
        let message = budget(1).wait(asks(3600), Duration::ZERO, 0.0).unwrap_err().to_string();
        assert_eq!(message, "answered 503; the server asks to wait 1h, longer than what is left of 1m");
    }

    #[test]
    fn reads_both_forms_of_retry_after() {
        let check = |text: &str, date: Option<&str>, expect: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_str(date).unwrap());
            }
            let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
            assert_eq!(retry_after(&headers, now), expect.map(Duration::from_secs), "{text}");
        };
        check("120", None, Some(120));
        check("Sun, 06 Nov 1994 08:50:37 GMT", None, Some(60));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some("Sun, 06 Nov 1994 08:50:32 GMT"), Some(5));
        check("Sun, 06 Nov 1994 08:00:00 GMT", None, Some(0));
        check("-5", None, None);
        check("soon", None, None);
    }
}
