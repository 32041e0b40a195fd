//! How long the intervals are that a range is cut into.

use std::fmt;

use jiff::{SignedDuration, Span, Unit};

/// The length of an interval: a word (`hour`, `day`, `week`, `month`, `quarter`, `year`), an ISO 8601 duration (`PT6H`,
/// `P10D`), or `none` for a range that is not cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Every {
    /// The whole range is one interval.
    #[default]
    None,
    /// So long.
    Step(Step),
}

/// A length that is longer than nothing: calendar months and days, and exact time on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Calendar months.
    pub months: i32,
    /// Calendar days, of 23 to 25 hours.
    pub days: i32,
    /// Exact time.
    pub time: SignedDuration,
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const NO_TIME: SignedDuration = SignedDuration::ZERO;

/// The words, and the adverbs that mean the same.
const WORDS: [(&str, &str, Step); 6] = [
    ("hour", "hourly", Step { months: 0, days: 0, time: HOUR }),
    ("day", "daily", Step { months: 0, days: 1, time: NO_TIME }),
    ("week", "weekly", Step { months: 0, days: 7, time: NO_TIME }),
    ("month", "monthly", Step { months: 1, days: 0, time: NO_TIME }),
    ("quarter", "quarterly", Step { months: 3, days: 0, time: NO_TIME }),
    ("year", "yearly", Step { months: 12, days: 0, time: NO_TIME }),
];

impl Every {
    /// Reads a word or an ISO 8601 duration.
    ///
    /// # Errors
    /// What is wrong with the text, for a user.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        if let Some((.., step)) = WORDS.iter().find(|(word, adverb, _)| text == *word || text == *adverb) {
            return Ok(Self::Step(*step));
        }
        let refused = || {
            let near = WORDS.iter().find(|(word, ..)| text.trim_end_matches('s') == *word);
            let near = near.map(|(word, ..)| format!("did you mean `{word}`? ")).unwrap_or_default();
            format!(
                "`{text}` is not a length of intervals; {near}there are none, hour, day, week, month, quarter, year, \
                 and ISO 8601 durations like PT6H"
            )
        };
        if !text.starts_with('P') {
            return Err(refused());
        }
        let span: Span = text.parse().map_err(|_| refused())?;
        Step::of(&span).map(Self::Step).ok_or_else(|| format!("`{text}` is not longer than nothing"))
    }
}

impl Step {
    /// `None` if the span is nothing, negative, or too long to count.
    fn of(span: &Span) -> Option<Self> {
        let months = i32::from(span.get_years()).checked_mul(12)?.checked_add(span.get_months())?;
        let days = span.get_weeks().checked_mul(7)?.checked_add(span.get_days())?;
        let exact = Span::new()
            .hours(span.get_hours())
            .minutes(span.get_minutes())
            .seconds(span.get_seconds())
            .milliseconds(span.get_milliseconds())
            .microseconds(span.get_microseconds());
        let time = SignedDuration::try_from(exact).ok()?;
        let something = !span.is_negative() && (months > 0 || days > 0 || time > NO_TIME);
        something.then_some(Self { months, days, time })
    }

    /// `times` of it; `None` beyond what a calendar counts.
    pub fn times(&self, times: i64) -> Option<Span> {
        let time = Span::try_from(self.time).ok()?.checked_mul(times).ok()?;
        let months = i64::from(self.months).checked_mul(times)?;
        let days = i64::from(self.days).checked_mul(times)?;
        time.try_months(months).ok()?.try_days(days).ok()
    }

    /// Whether it is exact time only, whatever the zone.
    pub fn is_exact(&self) -> bool {
        self.months == 0 && self.days == 0
    }

    /// About how many seconds it takes, for estimates.
    pub fn seconds(&self) -> f64 {
        f64::from(self.months) * 2_629_746.0 + f64::from(self.days) * 86_400.0 + self.time.as_secs_f64()
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Step(step) => write!(f, "{step}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((word, ..)) = WORDS.iter().find(|(.., known)| known == self) {
            return f.write_str(word);
        }
        let time = Span::try_from(self.time).unwrap_or_default();
        let time = time.round(jiff::SpanRound::new().largest(Unit::Hour)).unwrap_or(time);
        write!(f, "{}", time.months(self.months).days(self.days))
    }
}

super::spelt!(
    Every,
    "Every",
    "The length of an interval: hour, day, week, month, quarter, year, none, or an ISO 8601 duration.",
    r"^(none|hour(ly)?|day|daily|week(ly)?|month(ly)?|quarter(ly)?|year(ly)?|P.+)$",
    ["month", "day", "PT6H"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_durations_are_one_thing() {
        for (text, canonical) in [
            ("none", "none"),
            ("hour", "hour"),
            ("PT60M", "hour"),
            ("daily", "day"),
            ("P7D", "week"),
            ("P1W", "week"),
            ("P3M", "quarter"),
            ("P1Y", "year"),
            ("PT6H", "PT6H"),
            ("PT90M", "PT1H30M"),
            ("P1Y2M10DT2H", "P14M10DT2H"),
        ] {
            assert_eq!(Every::parse(text).map(|every| every.to_string()), Ok(canonical.to_owned()), "{text}");
            assert_eq!(Every::parse(canonical), Every::parse(text));
        }
    }

    #[test]
    fn refuses_nothing_the_past_and_what_is_no_length() {
        for text in
            ["P0D", "PT0S", "-P1D", "P-1D", "", "3d", "fortnight", "P", "PT", "months", "PT0.0000001S"]
        {
            assert!(Every::parse(text).is_err(), "{text}");
        }
        assert!(Every::parse("months").is_err_and(|why| why.contains("did you mean `month`?")));
    }
}
