//! What is read of one unit, given what is recorded of it.

use dil_model::Interval;
use dil_model::config::{Late, Partial, Units};
use dil_model::setting::Every;
use dil_model::{Error, ErrorKind, Result};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::decide::{History, Reason, Skip};
use crate::partition::{Partition, Partitions};
use crate::range::Range;

/// What to read of a unit.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) interval: Option<Interval>,
    pub(crate) reason: Reason,
    pub(crate) replaces: bool,
}

/// The rules of one stage, with every setting read.
pub(crate) struct Rules {
    pub(crate) slices: Slices,
    /// Whether a unit's name tells its interval; a window that moves with now is one unit for ever.
    pub(crate) named: bool,
    partial: Partial,
    snapshot: bool,
    late: Option<Late>,
    grace: Option<Span>,
    zone: TimeZone,
    /// Done units that end after it are read again.
    cut_off: Option<Timestamp>,
    /// Units read after it are left alone.
    left_alone: Option<Timestamp>,
}

impl Rules {
    pub(crate) fn new(units: Option<&Units>, now: Timestamp, latest: Option<Timestamp>) -> Result<Self> {
        let abstinence = units.and_then(|units| units.abstinence.as_ref()).map(|span| span.0);
        let Some(time) = units.and_then(|units| units.time.as_ref()) else {
            let zone = TimeZone::UTC;
            return Ok(Self {
                slices: Slices::Whole { given: false },
                named: false,
                partial: Partial::Keep,
                snapshot: units.is_some_and(|units| units.snapshot),
                late: None,
                grace: None,
                cut_off: None,
                left_alone: abstinence.map(|span| back(now, span, &zone)),
                zone,
            });
        };
        let range = Range::read(time, now)?;
        let order = units.map(|units| units.order).unwrap_or_default();
        let undivided = range.schemes.iter().all(|(_, every)| *every == Every::None);
        let window = range.moving && undivided;
        let grace = time.grace.as_ref().map(|grace| grace.0);
        Ok(Self {
            slices: Slices::Grid(Partitions::new(&range, order)),
            named: !window,
            // Without a grid the one interval is never partial: its end is the range's.
            partial: if undivided { Partial::Keep } else { time.partial },
            snapshot: window || units.is_some_and(|units| units.snapshot),
            late: grace.is_some().then(|| time.late.unwrap_or(Late::Reread)),
            grace,
            cut_off: grace.zip(latest).map(|(grace, latest)| back(latest, grace, &range.zone)),
            left_alone: abstinence.map(|span| back(now, span, &range.zone)),
            zone: range.zone,
        })
    }

    pub(crate) fn waits(&self, partition: &Partition) -> bool {
        self.partial == Partial::Drop && partition.is_partial()
    }

    /// What to read of a unit, or why nothing.
    pub(crate) fn verdict(
        &self,
        partition: Option<Partition>,
        history: &History,
        version: Option<&str>,
    ) -> Result<Verdict, Skip> {
        let whole = |reason| {
            Ok(Verdict { interval: partition.map(|partition| partition.clipped), reason, replaces: true })
        };
        if !history.done_before {
            return whole(if history.failed { Reason::FailedBefore } else { Reason::New });
        }
        let is_left_alone =
            |alone: Timestamp| !history.owing && history.recorded_at.is_some_and(|at| at > alone);
        if self.left_alone.is_some_and(is_left_alone) {
            return Err(Skip::Abstinence);
        }
        if self.snapshot {
            return whole(Reason::Snapshot);
        }
        if version.is_some() && version != history.version.as_deref() {
            return whole(Reason::Changed);
        }
        let Some(Partition { nominal, clipped }) = partition else {
            return match (version.is_some(), history.owing) {
                (false, _) => whole(Reason::Snapshot),
                (true, true) => whole(Reason::FailedBefore),
                (true, false) => Err(Skip::Done),
            };
        };
        let Some(recorded) = history.recorded_high else { return whole(Reason::New) };
        let unfinished = recorded < clipped.high;
        let late = self.cut_off.is_some_and(|cut_off| nominal.high > cut_off);
        let reason = match (unfinished, late) {
            (true, _) => Reason::Unfinished,
            (false, true) => Reason::Late,
            (false, false) => return Err(Skip::Done),
        };
        if self.late == Some(Late::Reread) {
            return whole(reason);
        }
        let known = self.grace.map_or(recorded, |grace| back(recorded, grace, &self.zone));
        let interval = Interval::new(known.max(clipped.low), clipped.high).ok_or(Skip::Done)?;
        Ok(Verdict { interval: Some(interval), reason, replaces: false })
    }
}

/// So much before `instant`, in the calendar of `zone`. What reaches before the calendar's beginning reaches everything.
fn back(instant: Timestamp, span: Span, zone: &TimeZone) -> Timestamp {
    let back = instant.to_zoned(zone.clone()).checked_sub(span);
    back.map_or(Timestamp::MIN, |zoned| zoned.timestamp())
}

/// The intervals of a stage, or the one nothing of a stage without.
#[derive(Clone)]
pub(crate) enum Slices {
    Whole { given: bool },
    Grid(Partitions),
}

/// The most units that a stage may have.
const UNITS_MAX: u64 = 100_000_000;

impl Slices {
    /// # Errors
    /// `Config` if there are far more units than anyone can want.
    pub(crate) fn check_number(&self, values: usize) -> Result<()> {
        let slices = match self {
            Self::Whole { .. } => 1,
            Self::Grid(partitions) => partitions.at_most(),
        };
        let units = slices.saturating_mul(values as u64);
        if units <= UNITS_MAX {
            return Ok(());
        }
        let message =
            format!("{slices} intervals times {values} values are {units} units; the most is {UNITS_MAX}");
        Err(Error::new(ErrorKind::Config, "plan/too-many-units", message)
            .hint("take longer intervals, a shorter range, or fewer values"))
    }
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
