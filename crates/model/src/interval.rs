//! Half-open stretches of time, and of keys.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `[low, high)` of source time. Half-open everywhere, so neighbours share a boundary and no instant twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// The first instant inside.
    pub low: Timestamp,
    /// The first instant after it.
    pub high: Timestamp,
}

impl Interval {
    /// The stretch from `low` up to, and without, `high`; `None` if nothing is inside.
    pub fn new(low: Timestamp, high: Timestamp) -> Option<Self> {
        (low < high).then_some(Self { low, high })
    }

    /// Whether `instant` is inside.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.low <= instant && instant < self.high
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {})", self.low, self.high)
    }
}

/// What of a key a unit reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRange {
    /// Whole numbers of `[low, high)`.
    Between {
        /// The first one inside.
        low: i64,
        /// The first one after it.
        high: i64,
    },
    /// What is greater than all that earlier runs have seen.
    Above {
        /// The column with the key.
        field: String,
        /// The greatest one that was seen: a number or a text; none if nothing was.
        after: Option<serde_json::Value>,
    },
}
