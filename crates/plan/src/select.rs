//! Which units a user wants, of those that a stage has.

use dil_model::Interval;
use jiff::Timestamp;

use crate::decide::History;
use crate::values::Values;

/// What a unit must be to run, beside what the rules of its stage say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Fields of the unit's values, and their text.
    pub values: Vec<(String, String)>,
    /// The unit's interval shares an instant with this one.
    pub time: Option<Interval>,
    /// Its last try failed.
    pub failed: bool,
}

impl Selection {
    /// Whether it admits the unit of a value and an interval.
    pub(crate) fn admits(
        &self,
        (values, number): (&Values, usize),
        nominal: Option<Interval>,
        history: &History,
    ) -> bool {
        let same = |(name, text): &(String, String)| {
            values.text(number, name).is_some_and(|value| value.as_ref() == text.as_str())
        };
        let in_time = self.time.is_none_or(|time| {
            nominal.is_some_and(|nominal| nominal.low < time.high && time.low < nominal.high)
        });
        in_time && (!self.failed || history.failed) && self.values.iter().all(same)
    }

    /// The stretch that a text names: an instant, or two with `..` between.
    pub fn stretch(low: Timestamp, high: Option<Timestamp>) -> Option<Interval> {
        let one = || low.checked_add(jiff::SignedDuration::from_nanos(1)).ok();
        Interval::new(low, high.or_else(one)?)
    }
}
