//! Which units run now, and why.

use dil_model::config::{Every, Partial, TimeUnits, Units};
use dil_model::unit::EachRow;
use dil_model::{Interval, Result};
use jiff::Timestamp;

use crate::limit::{Limit, Rank, rank};
use crate::partition::{Partition, Partitions};
use crate::range::Range;
use crate::signature::signature;
use crate::values::{Listed, values};

/// What is known about a stage before its units are planned.
#[derive(Debug, Clone, Copy)]
pub struct StageInput<'a> {
    /// The stage's `units`; without it the stage is one unit.
    pub units: Option<&'a Units>,
    /// The instant that `now` means, the same for all stages of a run.
    pub now: Timestamp,
    /// The rows of the stage that `each.rows_of` names, with all their fields and in any order.
    pub rows: Option<&'a [EachRow]>,
    /// The values of units that earlier runs planned and that are not done, `each.fields` only. Of a value that is not
    /// among the rows any more, only such units run.
    pub backlog: &'a [EachRow],
    /// The greatest recorded high of all units of the stage; grace counts back from it.
    pub latest: Option<Timestamp>,
}

/// What the ledger holds about one unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Up to where its rows were published and recorded.
    pub recorded_high: Option<Timestamp>,
    /// Whether it was ever recorded; a unit without interval has no `recorded_high`.
    pub done_before: bool,
    /// Whether its last try failed.
    pub failed: bool,
    /// Whether it was planned, and is not done.
    pub owing: bool,
    /// When it was last tried, if known: where `max` falls short, what was read longest ago is read again first.
    pub tried: Option<Timestamp>,
}

/// Why a unit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It was never recorded.
    New,
    /// It was never recorded, and its last try failed.
    FailedBefore,
    /// It is recorded only in part.
    Unfinished,
    /// It is done, but ends within the grace period, where late rows may have come.
    Late,
    /// It has no interval, so it is read in full every time.
    Snapshot,
}

/// A unit that runs now.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedUnit {
    /// Its name in the ledger, for ever.
    pub signature: String,
    /// The values it is made of.
    pub each: EachRow,
    /// Its whole interval, which may reach beyond the stage's range; recorded up to its end it is done.
    pub nominal: Option<Interval>,
    /// What is read now.
    pub interval: Option<Interval>,
    /// Why it runs.
    pub reason: Reason,
    /// Whether the files it published before are exchanged for the new ones, rather than added to: it is read from its
    /// beginning. A unit that was never recorded may own files still, if its history was forgotten by hand.
    pub replaces: bool,
    /// Whether all of it was recorded before: it is read again because rows may have changed.
    pub again: bool,
}

/// Why a unit does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// It is recorded up to its end, and no grace reaches it.
    Done,
    /// The range ends inside of it, and `partial: drop` waits until it is whole.
    Partial,
    /// The run takes `max` units, and others come before it.
    BeyondMax,
    /// The row that it came from left the list.
    Unlisted,
}

/// What becomes of a unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It runs.
    Run(PlannedUnit),
    /// It does not.
    Skip {
        /// Its name in the ledger.
        signature: String,
        /// Why not.
        why: Skip,
        /// The values it is made of, if it owes rows: a later run must not forget it.
        owing: Option<EachRow>,
    },
}

impl Decision {
    /// Name and values of the unit, if rows of it are still to be read for the first time.
    pub fn owing(&self) -> Option<(&str, &EachRow)> {
        match self {
            Self::Run(unit) => (!unit.again).then_some((unit.signature.as_str(), &unit.each)),
            Self::Skip { signature, owing, .. } => owing.as_ref().map(|each| (signature.as_str(), each)),
        }
    }
}

/// Decides on every unit of a stage, in the order in which they run: oldest interval first, then by value.
///
/// What runs: a unit that was never recorded, however old; the rest of one that is recorded in part; a done one that ends
/// after the cut-off (the greatest recorded high less `grace`, counted in the stage's zone); one without interval, always.
/// With `max`, units that owe rows go before ones that are read again, and among them those whose interval begins
/// earliest; for that `history` is asked twice for each unit.
///
/// # Errors
/// `Config` if `units` is not as the flow's checks let it pass, `Content` if an upstream row cannot name a unit; what `history` returns comes
/// as an item, and is the last one.
pub fn decide<'h, H>(input: &StageInput<'_>, history: H) -> Result<StagePlan<'h>>
where
    H: FnMut(&str) -> Result<Option<History>> + 'h,
{
    let time = input.units.and_then(|units| units.time.as_ref());
    let rules = Rules::new(time, input.now, input.latest)?;
    let each = input.units.and_then(|units| units.each.as_ref());
    let values = values(each, input.rows, input.backlog)?;
    let cells = Cells { slices: rules.slices.clone(), slice: None, value: 0, values: values.len() };
    let mut plan =
        StagePlan { rules, values, cells, number: 0, history: Box::new(history), limit: None, broken: false };
    if let Some(max) = input.units.and_then(|units| units.max) {
        plan.limit = Some(plan.choose(max)?);
    }
    Ok(plan)
}

/// Looks a unit up by its signature.
type Ask<'h> = dyn FnMut(&str) -> Result<Option<History>> + 'h;

/// The decisions on a stage's units, made one by one as they are asked for.
pub struct StagePlan<'h> {
    rules: Rules,
    values: Vec<Listed>,
    cells: Cells,
    /// The number of the next unit.
    number: u64,
    history: Box<Ask<'h>>,
    limit: Option<Limit>,
    broken: bool,
}

impl StagePlan<'_> {
    /// Goes through all units once and finds which `max` of them come first.
    fn choose(&mut self, max: u64) -> Result<Limit> {
        let start = self.cells.clone();
        let mut limit = Limit::new(max);
        while let Some(step) = self.step()? {
            if let (_, Some(rank)) = step {
                limit.offer(rank);
            }
        }
        (self.cells, self.number) = (start, 0);
        Ok(limit)
    }

    /// Decides on the next unit as if there were no limit; with its rank if it runs.
    fn step(&mut self) -> Result<Option<(Decision, Option<Rank>)>> {
        let Some((partition, value)) = self.cells.next() else { return Ok(None) };
        let number = self.number;
        self.number += 1;
        let Listed { row: each, listed } = self.values.get(value).cloned().unwrap_or_default();
        let signature = signature(&each, partition.map(|partition| partition.nominal.low));
        if partition.is_some_and(|partition| self.rules.waits(&partition)) {
            return Ok(Some((Decision::Skip { signature, why: Skip::Partial, owing: Some(each) }, None)));
        }
        let history = (self.history)(&signature)?.unwrap_or_default();
        if !listed && !history.owing {
            return Ok(Some((Decision::Skip { signature, why: Skip::Unlisted, owing: None }, None)));
        }
        Ok(Some(match self.rules.verdict(partition, history) {
            None => (Decision::Skip { signature, why: Skip::Done, owing: None }, None),
            Some(Verdict { interval, reason, replaces }) => {
                let nominal = partition.map(|partition| partition.nominal);
                let again = reason == Reason::Late || reason == Reason::Snapshot && history.done_before;
                let unit = PlannedUnit { signature, each, nominal, interval, reason, replaces, again };
                let rank = rank(number, &unit, history.tried);
                (Decision::Run(unit), Some(rank))
            }
        }))
    }
}

impl Iterator for StagePlan<'_> {
    type Item = Result<Decision>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let (decision, rank) = match self.step() {
            Ok(step) => step?,
            Err(error) => {
                self.broken = true;
                return Some(Err(error));
            }
        };
        let beyond = self.limit.as_ref().zip(rank).is_some_and(|(limit, rank)| !limit.takes(rank));
        Some(Ok(match decision {
            Decision::Run(unit) if beyond => Decision::Skip {
                signature: unit.signature,
                why: Skip::BeyondMax,
                owing: (!unit.again).then_some(unit.each),
            },
            decided => decided,
        }))
    }
}

/// The intervals of a stage, or the one nothing of a stage without.
#[derive(Clone)]
enum Slices {
    Whole { given: bool },
    Grid(Partitions),
}

impl Iterator for Slices {
    type Item = Option<Partition>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Whole { given } => (!std::mem::replace(given, true)).then_some(None),
            Self::Grid(partitions) => partitions.next().map(Some),
        }
    }
}

/// Interval times value, interval first.
#[derive(Clone)]
struct Cells {
    slices: Slices,
    slice: Option<Option<Partition>>,
    value: usize,
    values: usize,
}

impl Iterator for Cells {
    type Item = (Option<Partition>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        if self.values == 0 {
            return None;
        }
        if self.slice.is_none() || self.value == self.values {
            (self.slice, self.value) = (self.slices.next(), 0);
        }
        let slice = self.slice?;
        self.value += 1;
        Some((slice, self.value - 1))
    }
}

struct Verdict {
    interval: Option<Interval>,
    reason: Reason,
    replaces: bool,
}

/// The rules of one stage, with every setting read.
struct Rules {
    slices: Slices,
    partial: Partial,
    grace: bool,
    /// Done units that end after it are read again.
    cut_off: Option<Timestamp>,
}

impl Rules {
    fn new(time: Option<&TimeUnits>, now: Timestamp, latest: Option<Timestamp>) -> Result<Self> {
        let Some(time) = time else {
            return Ok(Self {
                slices: Slices::Whole { given: false },
                partial: Partial::Keep,
                grace: false,
                cut_off: None,
            });
        };
        let range = Range::read(time, now)?;
        let cut_off = match (&time.grace, latest) {
            (Some(grace), Some(latest)) => {
                let back = latest.to_zoned(range.zone.clone()).checked_sub(grace.0);
                // A grace that reaches before the calendar's beginning reaches everything.
                Some(back.map_or(Timestamp::MIN, |zoned| zoned.timestamp()))
            }
            _ => None,
        };
        // Without a grid the one interval is never partial: its end is the range's.
        let partial = if time.every == Every::None { Partial::Keep } else { time.partial };
        let slices = Slices::Grid(Partitions::new(&range, time.every));
        Ok(Self { slices, partial, grace: time.grace.is_some(), cut_off })
    }

    fn waits(&self, partition: &Partition) -> bool {
        self.partial == Partial::Drop && partition.is_partial()
    }

    /// What to read of a unit; `None` if it is done.
    fn verdict(&self, partition: Option<Partition>, history: History) -> Option<Verdict> {
        let Some(Partition { nominal, clipped }) = partition else {
            return Some(Verdict { interval: None, reason: Reason::Snapshot, replaces: true });
        };
        let Some(recorded) = history.recorded_high else {
            let reason = if history.failed { Reason::FailedBefore } else { Reason::New };
            return Some(Verdict { interval: Some(clipped), reason, replaces: true });
        };
        if recorded < clipped.high {
            let low = if self.grace { clipped.low } else { recorded.max(clipped.low) };
            let interval = Some(Interval { low, high: clipped.high });
            return Some(Verdict { interval, reason: Reason::Unfinished, replaces: self.grace });
        }
        let late = self.cut_off.is_some_and(|cut_off| nominal.high > cut_off);
        late.then_some(Verdict { interval: Some(clipped), reason: Reason::Late, replaces: true })
    }
}

#[cfg(test)]
mod tests;
