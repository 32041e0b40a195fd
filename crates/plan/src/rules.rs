//! What is read of one unit, given what is recorded of it.

use dil_model::config::{Late, Partial, Units};
use dil_model::setting::Every;
use dil_model::{Error, ErrorKind, Interval, KeyRange, Result};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::decide::{History, Reason, Skip};
use crate::keys::{KeyPart, KeyParts};
use crate::partition::{Partition, Partitions};
use crate::range::Range;
use crate::signature::Low;

/// What to read of a unit.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) interval: Option<Interval>,
    pub(crate) key: Option<KeyRange>,
    pub(crate) reason: Reason,
    pub(crate) replaces: bool,
}

/// The rules of one stage, with every setting read.
pub(crate) struct Rules {
    pub(crate) slices: Slices,
    /// Whether a unit's name tells its interval; a window that moves with now is one unit for ever.
    pub(crate) named: bool,
    /// The column of which the greatest value is the watermark.
    field: Option<String>,
    backfill: bool,
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
    pub(crate) fn new(
        units: Option<&Units>,
        now: Timestamp,
        (latest, backfill): (Option<Timestamp>, bool),
    ) -> Result<Self> {
        let abstinence = units.and_then(|units| units.abstinence.as_ref()).map(|span| span.0);
        let Some(time) = units.and_then(|units| units.time.as_ref()) else {
            let zone = TimeZone::UTC;
            let key = units.and_then(|units| units.key.as_ref());
            let order = units.map(|units| units.order).unwrap_or_default();
            let slices = match key.and_then(|key| Some((key.from, key.to?, key.every?))) {
                Some((from, to, every)) => Slices::Keys(KeyParts::new(from, to, every, order)),
                None => Slices::Whole { given: false },
            };
            return Ok(Self {
                slices,
                named: true,
                field: key.and_then(|key| key.field.clone()),
                backfill,
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
            field: None,
            backfill,
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

    pub(crate) fn waits(&self, slice: Slice) -> bool {
        matches!(slice, Slice::Time(partition) if self.partial == Partial::Drop && partition.is_partial())
    }

    /// What to read of a unit, or why nothing.
    pub(crate) fn verdict(
        &self,
        slice: Slice,
        history: &History,
        version: Option<&str>,
    ) -> Result<Verdict, Skip> {
        let slice = if self.backfill { slice.within(history) } else { slice };
        let whole = |reason| Ok(self.whole(slice, reason));
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
        match slice {
            Slice::Time(partition) => self.time_verdict(partition, history),
            Slice::Key(part) => match history.recorded_key.as_ref().and_then(serde_json::Value::as_i64) {
                None => whole(Reason::New),
                Some(recorded) if recorded < part.high && self.backfill => whole(Reason::Unfinished),
                Some(recorded) if recorded < part.high => {
                    let key = KeyRange::Between { low: recorded.max(part.low), high: part.high };
                    Ok(Verdict {
                        interval: None,
                        key: Some(key),
                        reason: Reason::Unfinished,
                        replaces: false,
                    })
                }
                Some(_) => Err(Skip::Done),
            },
            Slice::Whole => match (&self.field, version.is_some(), history.owing) {
                (Some(field), ..) => {
                    let key = KeyRange::Above { field: field.clone(), after: history.recorded_key.clone() };
                    let first = history.recorded_key.is_none();
                    Ok(Verdict { interval: None, key: Some(key), reason: Reason::Onward, replaces: first })
                }
                (None, false, _) => whole(Reason::Snapshot),
                (None, true, true) => whole(Reason::FailedBefore),
                (None, true, false) => Err(Skip::Done),
            },
        }
    }

    /// All of a unit.
    fn whole(&self, slice: Slice, reason: Reason) -> Verdict {
        let (interval, key) = match slice {
            Slice::Whole => (None, self.field.clone().map(|field| KeyRange::Above { field, after: None })),
            Slice::Time(partition) => (Some(partition.clipped), None),
            Slice::Key(part) => (None, Some(KeyRange::Between { low: part.low, high: part.high })),
        };
        Verdict { interval, key, reason, replaces: true }
    }

    fn time_verdict(&self, partition: Partition, history: &History) -> Result<Verdict, Skip> {
        let Partition { nominal, clipped } = partition;
        let whole = |reason| Ok(self.whole(Slice::Time(partition), reason));
        let Some(recorded) = history.recorded_high else { return whole(Reason::New) };
        let unfinished = recorded < clipped.high;
        let late = self.cut_off.is_some_and(|cut_off| nominal.high > cut_off);
        let reason = match (unfinished, late) {
            (true, _) => Reason::Unfinished,
            (false, true) => Reason::Late,
            (false, false) => return Err(Skip::Done),
        };
        if self.late == Some(Late::Reread) || self.backfill {
            return whole(reason);
        }
        let known = self.grace.map_or(recorded, |grace| back(recorded, grace, &self.zone));
        let interval = Interval::new(known.max(clipped.low), clipped.high).ok_or(Skip::Done)?;
        Ok(Verdict { interval: Some(interval), key: None, reason, replaces: false })
    }
}

/// So much before `instant`, in the calendar of `zone`. What reaches before the calendar's beginning reaches everything.
fn back(instant: Timestamp, span: Span, zone: &TimeZone) -> Timestamp {
    let back = instant.to_zoned(zone.clone()).checked_sub(span);
    back.map_or(Timestamp::MIN, |zoned| zoned.timestamp())
}

/// One part of a stage's range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Slice {
    /// A stage that is not divided but by its values.
    Whole,
    Time(Partition),
    Key(KeyPart),
}

impl Slice {
    /// Where it begins.
    pub(crate) fn low(&self) -> Option<Low> {
        match self {
            Self::Whole => None,
            Self::Time(partition) => Some(Low::Time(partition.nominal.low)),
            Self::Key(part) => Some(Low::Key(part.low)),
        }
    }

    /// What of it is published outside of a backfill; all of it, if nothing is.
    fn within(self, history: &History) -> Self {
        match self {
            Self::Whole => self,
            Self::Time(mut partition) => {
                let high = history.published_high.filter(|high| *high > partition.clipped.low);
                partition.clipped.high =
                    high.map_or(partition.clipped.high, |high| high.min(partition.clipped.high));
                Self::Time(partition)
            }
            Self::Key(mut part) => {
                let high = history.published_key.as_ref().and_then(serde_json::Value::as_i64);
                let high = high.filter(|high| *high > part.low);
                part.high = high.map_or(part.high, |high| high.min(part.high));
                Self::Key(part)
            }
        }
    }

    /// Its whole interval, if it is one.
    pub(crate) fn nominal(&self) -> Option<Interval> {
        match self {
            Self::Time(partition) => Some(partition.nominal),
            Self::Whole | Self::Key(_) => None,
        }
    }
}

/// The parts of a stage's range, or the one nothing of a stage without.
#[derive(Clone)]
pub(crate) enum Slices {
    Whole { given: bool },
    Grid(Partitions),
    Keys(KeyParts),
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
            Self::Keys(parts) => parts.parts().unsigned_abs(),
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
    type Item = Slice;

    fn next(&mut self) -> Option<Slice> {
        match self {
            Self::Whole { given } => (!std::mem::replace(given, true)).then_some(Slice::Whole),
            Self::Grid(partitions) => partitions.next().map(Slice::Time),
            Self::Keys(parts) => parts.next().map(Slice::Key),
        }
    }
}
