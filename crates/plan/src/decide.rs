//! Which units run now, and why.

use std::collections::VecDeque;

use dil_model::config::Units;
use dil_model::unit::EachRow;
use dil_model::{Interval, KeyRange, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limit::{Limit, Rank, rank};
use crate::rules::{Rules, Slice, Slices, Verdict};
use crate::select::Selection;
use crate::values::Values;

/// What is known about a stage before its units are planned.
#[derive(Debug, Clone, Copy)]
pub struct StageInput<'a> {
    /// The stage's `units`; without it the stage is one unit.
    pub units: Option<&'a Units>,
    /// The instant that `now` means, the same for all stages of a run.
    pub now: Timestamp,
    /// What divides the stage beside time. Of a value that only the backlog knows, only units that owe rows run.
    pub values: &'a Values,
    /// The greatest recorded high of all units of the stage; grace counts back from it.
    pub latest: Option<Timestamp>,
    /// Whether history is that of a backfill: units are read as a whole, and no further than what is published of them otherwise
    /// ([`History::published_high`]), so that what reads on from there adds no row twice.
    pub backfill: bool,
    /// Only units that one of these admits, if there are any.
    pub only: &'a [Selection],
}

/// What the ledger holds about one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Up to where its rows were published and recorded.
    pub recorded_high: Option<Timestamp>,
    /// Up to which key, where the stage is divided by keys: a number or a text.
    pub recorded_key: Option<serde_json::Value>,
    /// In a backfill: up to where the unit is recorded outside of it.
    pub published_high: Option<Timestamp>,
    /// In a backfill: up to which key.
    pub published_key: Option<serde_json::Value>,
    /// Whether it was ever recorded; a unit without interval has no `recorded_high`.
    pub done_before: bool,
    /// What counted as now when it was last recorded.
    pub recorded_at: Option<Timestamp>,
    /// The version of its value that was recorded.
    pub version: Option<String>,
    /// Whether its last try failed.
    pub failed: bool,
    /// Whether it was planned, and is not done.
    pub owing: bool,
    /// Whether it owes rows and its values are on record, so that it need not be put there.
    pub kept: bool,
    /// Whether it was recorded in this very run, which was interrupted and goes on.
    pub done_now: bool,
    /// When it was last tried, if ever: where `max` falls short, what was tried longest ago goes first.
    pub tried: Option<Timestamp>,
}

/// Why a unit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was never recorded.
    New,
    /// It owes rows, and its last try failed.
    FailedBefore,
    /// It is recorded only in part.
    Unfinished,
    /// It is done, but ends within the grace period, where late rows may have come.
    Late,
    /// It is done, but its value has another version now.
    Changed,
    /// New rows have greater keys than what was seen.
    Onward,
    /// It is read in full every time.
    Snapshot,
}

/// A unit that runs now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedUnit {
    /// Its name in the ledger, for ever.
    pub signature: String,
    /// The values it is made of.
    pub each: EachRow,
    /// The version of its value, if the stage looks at versions.
    pub version: Option<String>,
    /// Its whole interval, which may reach beyond the stage's range; recorded up to its end it is done. Without one it has
    /// no watermark: it is read in full every time.
    pub nominal: Option<Interval>,
    /// What is read now.
    pub interval: Option<Interval>,
    /// What of its keys is read now, if the stage is divided by them.
    pub key: Option<KeyRange>,
    /// Why it runs.
    pub reason: Reason,
    /// Whether the files it published before are exchanged for the new ones, rather than added to: it is read from its
    /// beginning. A unit that was never recorded may own files still, if its history was forgotten by hand.
    pub replaces: bool,
    /// Whether all of it was recorded before: it is read again because rows may have changed.
    pub again: bool,
    /// Whether it is on record as one that owes rows, with its values.
    pub kept: bool,
}

/// Why a unit does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// It is recorded up to its end, and no grace reaches it.
    Done,
    /// It was read so short a time ago that it is left alone.
    Abstinence,
    /// It was recorded in this very run, before that was interrupted.
    ThisRun,
    /// The range ends inside of it, and `partial: drop` waits until it is whole.
    Partial,
    /// The run takes `max` units, and others come before it.
    BeyondMax,
    /// The row that it came from left the list.
    Unlisted,
    /// The user chose others.
    NotChosen,
}

/// What becomes of a unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It runs.
    Run(Box<PlannedUnit>),
    /// It does not.
    Skip {
        /// Its name in the ledger.
        signature: String,
        /// Why not.
        why: Skip,
        /// The values it is made of, if it owes rows and that is not on record: a later run must not forget it.
        owing: Option<EachRow>,
    },
}

impl Decision {
    /// Name and values of the unit, if rows of it are still to be read for the first time and that is not on record.
    pub fn owing(&self) -> Option<(&str, &EachRow)> {
        match self {
            Self::Run(unit) => (!unit.again && !unit.kept).then_some((unit.signature.as_str(), &unit.each)),
            Self::Skip { signature, owing, .. } => owing.as_ref().map(|each| (signature.as_str(), each)),
        }
    }
}

/// Units that are looked up together.
const BATCH: usize = 1024;

/// Decides on every unit of a stage, in the order in which they run: by interval, then by value.
///
/// What runs: a unit that was never recorded, however old; the rest of one that is recorded in part; a done one that ends
/// after the cut-off (the greatest recorded high less `grace`, counted in the stage's zone), or whose value has another version;
/// one without interval, and any of a snapshot stage, always.
/// With `max`, units that owe rows go before ones that are read again, and among them those that have waited longest (or
/// whose interval begins latest); for that `history` is asked twice for each unit.
///
/// `history` looks units up by their signatures, some at a time, and answers in their order.
///
/// # Errors
/// `Config` if `units` is not as the flow's checks let it pass, or makes too many; what `history` returns comes as an item,
/// and is the last one.
pub fn decide<'a, H>(input: &StageInput<'a>, history: H) -> Result<StagePlan<'a>>
where
    H: FnMut(&[String]) -> Result<Vec<Option<History>>> + 'a,
{
    let rules = Rules::new(input.units, input.now, (input.latest, input.backfill))?;
    rules.slices.check_number(input.values.len())?;
    let cells = Cells { slices: rules.slices.clone(), slice: None, value: 0, values: input.values.len() };
    let newest_first = input.units.is_some_and(|units| units.order == dil_model::config::Order::NewestFirst);
    let mut plan = StagePlan {
        rules,
        values: input.values,
        only: input.only,
        newest_first,
        cells,
        number: 0,
        decided: VecDeque::new(),
        history: Box::new(history),
        limit: None,
        broken: false,
    };
    if let Some(max) = input.units.and_then(|units| units.max) {
        plan.limit = Some(plan.choose(max)?);
    }
    Ok(plan)
}

/// Looks units up by their signatures.
type Ask<'a> = dyn FnMut(&[String]) -> Result<Vec<Option<History>>> + 'a;

/// The decisions on a stage's units, made some at a time as they are asked for.
pub struct StagePlan<'a> {
    rules: Rules,
    values: &'a Values,
    only: &'a [Selection],
    newest_first: bool,
    cells: Cells,
    /// The number of the next unit.
    number: u64,
    decided: VecDeque<(Decision, Option<Rank>)>,
    history: Box<Ask<'a>>,
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
        if self.decided.is_empty() {
            let cells: Vec<(Slice, usize)> = self.cells.by_ref().take(BATCH).collect();
            let name = |(slice, value): &(Slice, usize)| {
                self.values.signature(*value, slice.low().filter(|_| self.rules.named))
            };
            let names: Vec<String> = cells.iter().map(name).collect();
            let known = if names.is_empty() { Vec::new() } else { (self.history)(&names)? };
            let known =
                known.into_iter().map(Option::unwrap_or_default).chain(std::iter::repeat(History::default()));
            for (((slice, value), signature), history) in cells.into_iter().zip(names).zip(known) {
                let decision = self.decide(slice, value, signature, &history);
                self.decided.push_back(decision);
                self.number += 1;
            }
        }
        Ok(self.decided.pop_front())
    }

    fn decide(
        &self,
        slice: Slice,
        value: usize,
        signature: String,
        history: &History,
    ) -> (Decision, Option<Rank>) {
        let skip = |why| (Decision::Skip { signature: signature.clone(), why, owing: None }, None);
        let version = self.values.version(value);
        // A value whose version changed has other values on record.
        let kept = history.kept && version.is_none();
        let owing = |why| {
            let owing = (!kept).then(|| self.values.row(value));
            (Decision::Skip { signature: signature.clone(), why, owing }, None)
        };
        let nominal = slice.nominal();
        if self.rules.waits(slice) {
            return owing(Skip::Partial);
        }
        if !self.values.is_listed(value) && !history.owing {
            return skip(Skip::Unlisted);
        }
        let Verdict { interval, key, reason, replaces } =
            match self.rules.verdict(slice, history, version.as_deref()) {
                Ok(verdict) => verdict,
                Err(why) => return skip(why),
            };
        let again = match reason {
            Reason::Late | Reason::Onward => true,
            Reason::Snapshot => history.done_before,
            Reason::New | Reason::FailedBefore | Reason::Unfinished | Reason::Changed => false,
        };
        let chosen = |only: &Selection| only.admits((self.values, value), nominal, history);
        if !self.only.is_empty() && !self.only.iter().any(chosen) {
            return if again { skip(Skip::NotChosen) } else { owing(Skip::NotChosen) };
        }
        if again && history.done_now {
            return skip(Skip::ThisRun);
        }
        let nominal = nominal.filter(|_| reason != Reason::Snapshot);
        let each = self.values.row(value);
        let unit =
            PlannedUnit { signature, each, version, nominal, interval, key, reason, replaces, again, kept };
        let rank = rank(self.number, &unit, history.tried, self.newest_first);
        (Decision::Run(Box::new(unit)), Some(rank))
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
                owing: (!unit.again && !unit.kept).then_some(unit.each),
            },
            decided => decided,
        }))
    }
}

/// Interval times value, interval first.
#[derive(Clone)]
struct Cells {
    slices: Slices,
    slice: Option<Slice>,
    value: usize,
    values: usize,
}

impl Iterator for Cells {
    type Item = (Slice, usize);

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

#[cfg(test)]
mod dil_tests;
#[cfg(test)]
mod tests;
