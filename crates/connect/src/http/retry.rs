//! How often, and after which waits, a page is asked for again.

use std::time::{Duration, Instant, SystemTime};

use dil_model::config::RequestRetry;
use dil_model::setting::HumanDuration;
use dil_model::{Error, ErrorKind, Result, Retry};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// The tries that one page may take.
pub(super) struct Budget {
    policy: RequestRetry,
    tries: u32,
    began: Option<Instant>,
    /// Why the first try for the page failed.
    first: Option<Cause>,
}

struct Cause {
    code: String,
    message: String,
}

impl Budget {
    pub(super) fn new(policy: RequestRetry) -> Self {
        Self { policy, tries: 0, began: None, first: None }
    }

    /// A request for the page leaves now; gives how many did before.
    pub(super) fn count_try(&mut self) -> u32 {
        self.began.get_or_insert_with(Instant::now);
        self.tries += 1;
        self.tries - 1
    }

    /// The next page has its own budget.
    pub(super) fn renew(&mut self) {
        *self = Self::new(self.policy.clone());
    }

    /// The error that ends the tries, with the cause of the first one if that was another.
    pub(super) fn last(&self, error: Error) -> Error {
        match &self.first {
            Some(first) if first.code != error.code => error.at(format!("first: {}", first.message)),
            _ => error,
        }
    }

    /// How long to wait before the next try.
    ///
    /// # Errors
    /// `error` itself if a retry cannot help or the budget does not allow one; what it says then names the bound.
    pub(super) fn wait_after(&mut self, error: Error) -> Result<Duration> {
        self.first.get_or_insert_with(|| Cause { code: error.code.clone(), message: error.message.clone() });
        let spent = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        self.wait(error, spent, rand::random::<f64>()).map_err(|error| self.last(error))
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

/// Numbers above this are instants, in seconds since 1970; those further above by three digits, in milliseconds.
const EPOCH_SECONDS_MIN: f64 = 1e9;
const EPOCH_MILLISECONDS_MIN: f64 = 1e12;

/// How the headers are called that tell of a quota: `limit`'s rest, and when it is filled up.
const QUOTAS: [(&str, &str); 3] = [
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
];

/// How long an answer that turns us away asks to wait: by `Retry-After`, or because a quota is used up (429 and 403).
pub(super) fn asked_wait(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    // A date is compared with the server's own clock where it tells it.
    let now = text("date").and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    let after = text("retry-after").and_then(|text| wait_until(text, now));
    let quota = || {
        QUOTAS.iter().find_map(|(remaining, reset)| {
            let is_used_up = match text(remaining) {
                Some(remaining) => remaining.parse() == Ok(0.0),
                // 429 says so by itself; 403 does not.
                None => status == StatusCode::TOO_MANY_REQUESTS,
            };
            if is_used_up { wait_until(text(reset)?, now) } else { None }
        })
    };
    let counts = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN);
    after.or_else(|| if counts { quota() } else { None })
}

/// Seconds, or an instant: since 1970, as HTTP dates or RFC 3339 spell it.
fn wait_until(text: &str, now: SystemTime) -> Option<Duration> {
    let until = match text.parse::<f64>() {
        Ok(seconds) if seconds <= EPOCH_SECONDS_MIN => return Duration::try_from_secs_f64(seconds).ok(),
        Ok(instant) => {
            let seconds = if instant < EPOCH_MILLISECONDS_MIN { instant } else { instant / 1000.0 };
            SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?
        }
        Err(_) => httpdate::parse_http_date(text)
            .ok()
            .or_else(|| text.parse::<jiff::Timestamp>().ok().map(SystemTime::from))?,
    };
    Some(until.duration_since(now).unwrap_or(Duration::ZERO))
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
        Budget { policy, tries, began: None, first: None }
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
    fn the_first_cause_is_told_if_it_was_another() {
        let mut budget = budget(1);
        budget.policy.wait = Waits { first: HumanDuration::secs(0), longest: HumanDuration::secs(0) };
        let gzip = Error::new(ErrorKind::Content, "http/gzip", "not gzip").retryable();
        assert!(budget.wait_after(gzip).is_ok());
        budget.tries = 4;
        let shown = budget.wait_after(failed()).unwrap_err().to_string();
        assert_eq!(shown, "answered 503, tried 4 times, first: not gzip");
        budget.renew();
        let other = Error::new(ErrorKind::Content, "http/content-type", "a web page");
        assert_eq!(budget.wait_after(other).unwrap_err().to_string(), "a web page");
    }

    /// What an answer at 1994-11-06T08:49:37Z asks for, in seconds.
    fn asked(status: u16, headers: &[(&'static str, &str)]) -> Option<f64> {
        let headers = headers.iter().map(|(name, value)| {
            (reqwest::header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        asked_wait(status, &headers.collect(), now).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn reads_every_form_of_retry_after() {
        for (text, expect) in [
            ("120", Some(120.0)),
            ("0.25", Some(0.25)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60.0)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0.0)),
            ("1994-11-06T08:50:37Z", Some(60.0)),
            ("1994-11-06T09:50:37.5+01:00", Some(60.5)),
            ("-5", None),
            ("inf", None),
            ("soon", None),
        ] {
            assert_eq!(asked(503, &[("retry-after", text)]), expect, "{text}");
        }
        let with_date = |text, date| asked(429, &[("retry-after", text), ("date", date)]);
        assert_eq!(with_date("Sun, 06 Nov 1994 08:50:37 GMT", "Sun, 06 Nov 1994 08:50:32 GMT"), Some(5.0));
        let date = "Sun, 09 Sep 2001 01:46:41 GMT";
        assert_eq!(with_date("1000000031", date), Some(30.0));
        assert_eq!(with_date("1000000031500", date), Some(30.5));
        assert_eq!(with_date("2001-09-09T01:47:11Z", date), Some(30.0));
    }

    #[test]
    fn a_quota_that_is_used_up_tells_how_long_to_wait() {
        for (remaining, reset) in QUOTAS {
            assert_eq!(asked(403, &[(remaining, "0"), (reset, "30")]), Some(30.0), "{reset}");
            assert_eq!(asked(429, &[(remaining, "0"), (reset, "1994-11-06T08:49:47Z")]), Some(10.0));
            assert_eq!(asked(429, &[(reset, "30")]), Some(30.0));
            assert_eq!(asked(403, &[(reset, "30")]), None);
            assert_eq!(asked(403, &[(remaining, "7"), (reset, "30")]), None);
            assert_eq!(asked(503, &[(remaining, "0"), (reset, "30")]), None);
            assert_eq!(asked(429, &[("retry-after", "2"), (remaining, "0"), (reset, "30")]), Some(2.0));
        }
        let epoch = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000000031")];
        let date = ("date", "Sun, 09 Sep 2001 01:46:41 GMT");
        assert_eq!(asked(403, &[epoch[0], epoch[1], date]), Some(30.0));
    }
}
