//! Which units a run takes if it cannot take all.

use std::collections::BinaryHeap;

use dil_model::KeyRange;
use jiff::Timestamp;

use crate::decide::PlannedUnit;

/// Smaller goes first: what owes rows before what is read again, then who waited longest, then by number.
pub(crate) type Rank = (bool, i64, u64);

/// The first `max` units, known by the last one's rank.
///
/// If `max` simply took units in their order, a done unit within grace, or one that grows with `now`, would keep its place
/// in every run, and one behind it would never come to its turn.
pub(crate) struct Limit {
    max: usize,
    first: BinaryHeap<Rank>,
}

impl Limit {
    pub(crate) fn new(max: u64) -> Self {
        Self { max: usize::try_from(max).unwrap_or(usize::MAX), first: BinaryHeap::new() }
    }

    /// Lets a unit compete. Holds at most `max` ranks.
    pub(crate) fn offer(&mut self, rank: Rank) {
        self.first.push(rank);
        if self.first.len() > self.max {
            self.first.pop();
        }
    }

    /// Whether the unit is among the first, once all were offered.
    pub(crate) fn takes(&self, rank: Rank) -> bool {
        self.first.len() < self.max || self.first.peek().is_some_and(|last| rank <= *last)
    }
}

/// The rank of the unit that comes as `number`-th.
///
/// Among units that owe rows the one goes first that has waited longest: since its interval began, or since it was last tried.
/// One that fails in every run takes its turn like any other, and one that grows does not take all turns.
pub(crate) fn rank(number: u64, unit: &PlannedUnit, tried: Option<Timestamp>, newest_first: bool) -> Rank {
    let tried = tried.map_or(i64::MIN, Timestamp::as_microsecond);
    if unit.again {
        return (true, tried, number);
    }
    let low = match (&unit.interval, &unit.key) {
        (Some(interval), _) => interval.low.as_microsecond(),
        // A number is no time: who was never tried goes first, and then by number.
        (None, Some(KeyRange::Between { low, .. })) if newest_first => *low,
        (None, _) => i64::MIN,
    };
    (false, if newest_first { low.saturating_neg() } else { low.max(tried) }, number)
}
