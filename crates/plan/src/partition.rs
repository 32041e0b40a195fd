//! Cuts a range into the intervals that become work units.

use dil_model::Interval;
use dil_model::config::Order;
use dil_model::setting::{Every, Step};
use jiff::civil::date;
use jiff::{Timestamp, Zoned};

use crate::range::Range;

/// One interval of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The whole interval; the last one may reach beyond the range.
    pub(crate) nominal: Interval,
    /// Its part inside the range.
    pub(crate) clipped: Interval,
}

impl Partition {
    /// Whether the range cuts it short.
    pub(crate) fn is_partial(&self) -> bool {
        self.clipped.high < self.nominal.high
    }
}

/// The partitions of a range, from its beginning or from its end.
///
/// The k-th boundary is `from` plus k steps in the zone's calendar, counted from `from` itself: months from the
/// 31st are 31, 29, 31, 30 …, and a day has 23 to 25 hours. A day that a zone leaves out (Apia, 30 December 2011) makes
/// no partition. Where `from` moves with now, boundaries are counted from the beginning of 1970 instead (weeks from its first
/// Monday, exact time in UTC), so that they stay where they are, and the first partition begins at or before `from`.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    /// In the order in which they are gone through.
    segments: Vec<Segment>,
    backwards: bool,
    segment: usize,
    /// The boundaries passed in the current segment.
    passed: i64,
}

/// A stretch of the range with one step.
#[derive(Debug, Clone)]
struct Segment {
    grid: Grid,
    /// The number of the boundary at or before its beginning.
    first: i64,
    /// How many boundaries are in it, the first included.
    count: i64,
    low: Timestamp,
    /// Where the next one begins; `None` for the last one.
    until: Option<Timestamp>,
    /// The end of the range.
    to: Timestamp,
}

#[derive(Debug, Clone)]
enum Grid {
    Whole,
    Steps { anchor: Zoned, step: Step },
}

impl Partitions {
    /// The partitions of `range`; none if it is empty.
    pub(crate) fn new(range: &Range, order: Order) -> Self {
        let begins = range.schemes.iter();
        let ends = range.schemes.iter().skip(1).map(|(at, _)| Some(*at)).chain([None]);
        let mut segments: Vec<Segment> = begins
            .zip(ends)
            .filter(|((low, _), _)| *low < range.to)
            .map(|((low, every), until)| Segment::new(range, *low, *every, until))
            .collect();
        let backwards = order == Order::NewestFirst;
        if backwards {
            segments.reverse();
        }
        Self { segments, backwards, segment: 0, passed: 0 }
    }

    /// At most so many, and hardly fewer.
    pub(crate) fn at_most(&self) -> u64 {
        self.segments.iter().map(|segment| segment.count.unsigned_abs()).fold(0, u64::saturating_add)
    }
}

impl Iterator for Partitions {
    type Item = Partition;

    fn next(&mut self) -> Option<Partition> {
        loop {
            let segment = self.segments.get(self.segment)?;
            if self.passed >= segment.count {
                (self.segment, self.passed) = (self.segment + 1, 0);
                continue;
            }
            let number = if self.backwards { segment.count - 1 - self.passed } else { self.passed };
            self.passed += 1;
            if let Some(partition) = segment.partition(segment.first + number) {
                return Some(partition);
            }
        }
    }
}

impl Segment {
    fn new(range: &Range, low: Timestamp, every: Every, until: Option<Timestamp>) -> Self {
        let end = until.map_or(range.to, |until| until.min(range.to));
        let Every::Step(step) = every else {
            return Self { grid: Grid::Whole, first: 0, count: 1, low, until, to: range.to };
        };
        let aligned = range.moving && low == range.from;
        let anchor = if aligned { origin(range, step) } else { low.to_zoned(range.zone.clone()) };
        let grid = Grid::Steps { anchor, step };
        let first = if aligned { grid.last_not_after(low, step.seconds()) } else { 0 };
        let low = if aligned { grid.boundary(first).min(low) } else { low };
        // The last boundary below the end.
        let last = grid.last_not_after(end, step.seconds());
        let count = last - first + i64::from(grid.boundary(last) < end);
        Self { grid, first, count: count.max(1), low, until, to: range.to }
    }

    /// The partition that begins at boundary `k`; `None` if the zone leaves it out.
    fn partition(&self, k: i64) -> Option<Partition> {
        let low = self.grid.boundary(k).max(self.low);
        let high = match self.grid {
            Grid::Whole => self.until.unwrap_or(self.to),
            Grid::Steps { .. } => self.grid.boundary(k + 1),
        };
        let high = self.until.map_or(high, |until| high.min(until));
        let nominal = Interval::new(low, high)?;
        let clipped = Interval::new(low, high.min(self.to))?;
        Some(Partition { nominal, clipped })
    }
}

impl Grid {
    /// The k-th boundary; the last instant there is once the calendar ends.
    fn boundary(&self, k: i64) -> Timestamp {
        match self {
            Self::Whole => Timestamp::MIN,
            Self::Steps { anchor, step } => {
                let end = if k < 0 { Timestamp::MIN } else { Timestamp::MAX };
                let at = step.times(k).and_then(|span| anchor.checked_add(span).ok());
                at.map_or(end, |zoned| zoned.timestamp())
            }
        }
    }

    /// The greatest number whose boundary is at or before `instant`. `step` in seconds, about.
    fn last_not_after(&self, instant: Timestamp, step: f64) -> i64 {
        let Self::Steps { anchor, .. } = self else { return 0 };
        let distance = instant.duration_since(anchor.timestamp()).as_secs_f64();
        // From a guess that is close, since steps are of about one length, to bounds around the boundary that is looked for.
        #[expect(clippy::cast_possible_truncation, reason = "a float beyond i64 becomes its bound")]
        let guess = (distance / step) as i64;
        let (mut below, mut above) = (guess, guess);
        let mut reach = 1;
        while self.boundary(below) > instant {
            (below, reach) = (below.saturating_sub(reach), reach * 2);
        }
        reach = 1;
        while self.boundary(above) <= instant && self.boundary(above) < Timestamp::MAX {
            (above, reach) = (above.saturating_add(reach), reach * 2);
        }
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            if self.boundary(middle) <= instant { below = middle } else { above = middle }
        }
        below
    }
}

/// Where the boundaries of a step are counted from if nothing else is fixed.
fn origin(range: &Range, step: Step) -> Zoned {
    let utc = Timestamp::UNIX_EPOCH.to_zoned(range.zone.clone());
    if step.is_exact() {
        return utc;
    }
    let monday = step.months == 0 && step.days % 7 == 0;
    let begin = if monday { date(1970, 1, 5) } else { date(1970, 1, 1) };
    begin.to_zoned(range.zone.clone()).unwrap_or(utc)
}

#[cfg(test)]
mod tests;
