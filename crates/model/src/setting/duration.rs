//! Stretches of time: exact ones (a time-out) and calendar ones (a grace of three days).

use std::fmt;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// An exact length of time: `30s`, `500ms`, `4h`, `1h 30m`.
///
/// Days are refused: a day has 23 to 25 hours, so a time-out says hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// So many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads `1h 30m`.
    ///
    /// # Errors
    /// What is wrong with the text, for a user.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
            return Err(format!("`{text}` has no unit; write {text}s for seconds, {text}m for minutes"));
        }
        let span: Span = text
            .trim()
            .parse()
            .map_err(|_| format!("`{text}` is not a duration; write one like 30s, 5m or 4h"))?;
        if span.get_years() != 0 || span.get_months() != 0 || span.get_weeks() != 0 || span.get_days() != 0 {
            return Err(format!("`{text}` counts days, whose length varies; write hours"));
        }
        let exact = span.total(jiff::Unit::Nanosecond).ok().filter(|nanoseconds| *nanoseconds >= 0.0);
        exact
            .and_then(|nanoseconds| Duration::try_from_secs_f64(nanoseconds / 1e9).ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a length of time"))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        match milliseconds {
            0 => f.write_str("0s"),
            _ if milliseconds.is_multiple_of(3_600_000) => write!(f, "{}h", milliseconds / 3_600_000),
            _ if milliseconds.is_multiple_of(60_000) => write!(f, "{}m", milliseconds / 60_000),
            _ if milliseconds.is_multiple_of(1_000) => write!(f, "{}s", milliseconds / 1_000),
            _ => write!(f, "{milliseconds}ms"),
        }
    }
}

super::spelt!(
    HumanDuration,
    "Duration",
    "A length of time with its unit: ms, s, m, h.",
    r"^\s*[0-9].*[a-z]\s*$",
    ["30s", "500ms", "4h"]
);

/// A stretch of the calendar: `3d`, `1h`, `2w`, `1mo`, or ISO 8601 (`P3D`, `PT6H`).
///
/// `3d` is three calendar days in the stage's zone, so it survives a change of the clocks.
#[derive(Debug, Clone)]
pub struct CalendarSpan(pub Span);

impl CalendarSpan {
    /// Reads `3d` or `P3D`.
    ///
    /// # Errors
    /// What is wrong with the text, for a user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let span: Span = text.trim().parse().map_err(|_| {
            format!("`{text}` is not a stretch of time; write one like 3d, 6h, 1mo or P3DT6H")
        })?;
        if span.is_negative() {
            return Err(format!("`{text}` is negative"));
        }
        Ok(Self(span))
    }
}

impl PartialEq for CalendarSpan {
    fn eq(&self, other: &Self) -> bool {
        self.0.compare((other.0, SpanRelativeTo::days_are_24_hours())).is_ok_and(|order| order.is_eq())
            || self.to_string() == other.to_string()
    }
}

impl fmt::Display for CalendarSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

super::spelt!(
    CalendarSpan,
    "CalendarSpan",
    "A stretch of the calendar: 3d, 6h, 2w, 1mo, or ISO 8601.",
    r"^\s*[0-9P].*[A-Za-z]\s*$",
    ["3d", "PT6H"]
);

/// How long to wait between tries: the first wait and the longest one, doubling in between. Spelt `1s..1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// Before the first repeat.
    pub first: HumanDuration,
    /// Never longer than this.
    pub longest: HumanDuration,
}

impl Waits {
    /// Reads `1s..1m`, or `5s` for a wait that does not grow.
    ///
    /// # Errors
    /// What is wrong with the text, for a user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (first, longest) = text.split_once("..").unwrap_or((text, text));
        let (first, longest) = (HumanDuration::parse(first)?, HumanDuration::parse(longest)?);
        if first > longest {
            return Err(format!("`{text}` starts above its end"));
        }
        Ok(Self { first, longest })
    }

    /// The wait before repeat number `repeat`, counted from 1, without jitter.
    pub fn before(&self, repeat: u32) -> Duration {
        let factor = 1u32.checked_shl(repeat.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.0.saturating_mul(factor).min(self.longest.0)
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.longest)
    }
}

super::spelt!(
    Waits,
    "Waits",
    "The first and the longest wait between tries; it doubles in between.",
    r"^\s*[0-9].*[a-z]\s*$",
    ["1s..1m", "5s"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_wants_its_unit() {
        assert_eq!(HumanDuration::parse("90s").map(|d| d.0.as_secs()), Ok(90));
        assert_eq!(HumanDuration::parse("1h 30m").map(|d| d.to_string()), Ok("90m".to_owned()));
        assert!(HumanDuration::parse("30").is_err_and(|message| message.contains("30s")));
        assert!(HumanDuration::parse("3d").is_err());
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = Waits::parse("1s..5s")
            .unwrap_or(Waits { first: HumanDuration::secs(0), longest: HumanDuration::secs(0) });
        let seconds: Vec<u64> = (1..=5).map(|repeat| waits.before(repeat).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn a_calendar_span_reads_both_spellings() {
        assert_eq!(CalendarSpan::parse("3d"), CalendarSpan::parse("P3D"));
        assert!(CalendarSpan::parse("soon").is_err());
    }
}
