//! So many per stretch of time.

use std::fmt;
use std::time::Duration;

/// A bound on how often something happens: `5/s`, `600/m`, `10000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In any stretch of this length.
    pub per: Duration,
}

const PERIODS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

impl Rate {
    /// Reads `5/s`.
    ///
    /// # Errors
    /// What is wrong with the text, for a user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate; write one like 5/s, 600/m, 10000/h or 50000/d");
        let (count, period) = text.trim().split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let period = period.trim();
        let seconds = PERIODS.iter().find(|(name, _)| *name == period).map(|(_, s)| *s).ok_or_else(wrong)?;
        if count == 0 {
            return Err("a rate of 0 would never send anything".to_owned());
        }
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = PERIODS.iter().find(|(_, s)| *s == self.per.as_secs()).map_or("s", |(name, _)| name);
        write!(f, "{}/{period}", self.count)
    }
}

super::spelt!(
    Rate,
    "Rate",
    "A bound on how often something happens: a count, a slash, and s, m, h or d.",
    r"^\s*[0-9]+\s*/\s*(s|m|h|d)\s*$",
    ["5/s", "600/m"]
);

#[cfg(test)]
mod tests {
    use super::Rate;

    #[test]
    fn reads_what_it_prints() {
        for text in ["5/s", "600/m", "10000/h", "50000/d"] {
            assert_eq!(Rate::parse(text).map(|rate| rate.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["5", "5/w", "x/s", "0/s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }
}
