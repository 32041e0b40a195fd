//! Cuts a range into the intervals that become work units.

use dil_model::Interval;
use dil_model::config::Every;
use jiff::{Span, Timestamp, Zoned};

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

/// The partitions of a range, in order.
///
/// The k-th boundary is `from` plus k calendar days or months in the zone, counted from `from` itself: months from the
/// 31st are 31, 29, 31, 30 …, and a day has 23 to 25 hours. A day that a zone leaves out (Apia, 30 December 2011) makes
/// no partition.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    from: Zoned,
    every: Every,
    to: Timestamp,
    low: Timestamp,
    /// The number of the boundary that `low` is.
    boundary: i64,
}

impl Partitions {
    /// The partitions of `range`; none if it is empty.
    pub(crate) fn new(range: &Range, every: Every) -> Self {
        let from = range.from.to_zoned(range.zone.clone());
        Self { low: range.from, from, every, to: range.to, boundary: 0 }
    }

    /// The k-th boundary; the last instant there is once the calendar ends.
    fn boundary(&self, k: i64) -> Timestamp {
        let span = match self.every {
            Every::None => return self.to,
            Every::Day => Span::new().try_days(k),
            Every::Month => Span::new().try_months(k),
        };
        span.and_then(|span| self.from.checked_add(span)).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }
}

impl Iterator for Partitions {
    type Item = Partition;

    fn next(&mut self) -> Option<Partition> {
        if self.low >= self.to {
            return None;
        }
        let mut high = self.low;
        // Ends: boundaries never go back, and at the end of the calendar they are above every `to`.
        while high <= self.low {
            self.boundary += 1;
            high = self.boundary(self.boundary);
        }
        let nominal = Interval::new(self.low, high)?;
        let clipped = Interval::new(self.low, high.min(self.to))?;
        self.low = high;
        Some(Partition { nominal, clipped })
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn range(from: &str, to: &str, zone: &str) -> Range {
        let zone = TimeZone::get(zone).unwrap();
        let at = |text: &str| {
            let date: jiff::civil::Date = text.parse().unwrap();
            date.to_zoned(zone.clone()).unwrap().timestamp()
        };
        Range { from: at(from), to: at(to), zone: zone.clone() }
    }

    fn lows(range: &Range, every: Every) -> Vec<String> {
        let zone = &range.zone;
        Partitions::new(range, every)
            .map(|p| p.nominal.low.to_zoned(zone.clone()).datetime().to_string())
            .collect()
    }

    #[test]
    fn months_from_the_31st_do_not_drift() {
        let lows = lows(&range("2024-01-31", "2024-06-30", "America/Los_Angeles"), Every::Month);
        let expect = ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31"];
        assert_eq!(lows, expect.map(|day| format!("{day}T00:00:00")));
    }

    #[test]
    fn a_day_has_23_to_25_hours() {
        let hours = |from, to| -> Vec<i64> {
            let range = range(from, to, "Europe/Vienna");
            let length = |p: Partition| (p.nominal.high.as_second() - p.nominal.low.as_second()) / 3600;
            Partitions::new(&range, Every::Day).map(length).collect()
        };
        assert_eq!(hours("2024-03-30", "2024-04-02"), [24, 23, 24]);
        assert_eq!(hours("2024-10-26", "2024-10-29"), [24, 25, 24]);
    }

    #[test]
    fn a_day_that_a_zone_leaves_out_is_no_partition() {
        let lows = lows(&range("2011-12-28", "2012-01-02", "Pacific/Apia"), Every::Day);
        assert_eq!(
            lows,
            ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"].map(|day| format!("{day}T00:00:00"))
        );
    }

    #[test]
    fn the_last_one_keeps_its_whole_name_and_is_read_up_to_the_end() {
        let range = range("2024-01-01", "2024-02-15", "UTC");
        let last = Partitions::new(&range, Every::Month).last().unwrap();
        assert!(last.is_partial());
        assert_eq!(last.nominal.to_string(), "[2024-02-01T00:00:00Z, 2024-03-01T00:00:00Z)");
        assert_eq!(last.clipped.to_string(), "[2024-02-01T00:00:00Z, 2024-02-15T00:00:00Z)");
    }

    #[test]
    fn an_undivided_range_is_one_and_an_empty_one_is_none() {
        let undivided: Vec<Partition> =
            Partitions::new(&range("2024-01-01", "2024-02-15", "UTC"), Every::None).collect();
        assert!(matches!(&undivided[..], [one] if !one.is_partial()));
        assert_eq!(Partitions::new(&range("2024-01-01", "2024-01-01", "UTC"), Every::Day).count(), 0);
        assert_eq!(Partitions::new(&range("2024-01-02", "2024-01-01", "UTC"), Every::None).count(), 0);
    }

    #[test]
    fn ends_where_the_calendar_ends() {
        let range =
            Range { from: "9999-11-15T00:00:00Z".parse().unwrap(), to: Timestamp::MAX, zone: TimeZone::UTC };
        assert_eq!(Partitions::new(&range, Every::Month).last().unwrap().clipped.high, Timestamp::MAX);
        assert!(Partitions::new(&range, Every::Day).count() < 60);
    }

    const ZONES: [&str; 8] = [
        "UTC",
        "Europe/Vienna",
        "America/Los_Angeles",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Africa/Casablanca",
        "Australia/Lord_Howe",
        "America/Sao_Paulo",
    ];

    proptest! {
        #[test]
        fn they_tile_the_range_exactly(
            from in 1_262_304_000_i64..1_800_000_000,
            length in 1_i64..(3 * 366 * 86_400),
            zone in prop::sample::select(&ZONES[..]),
            every in prop::sample::select(vec![Every::None, Every::Day, Every::Month]),
        ) {
            let zone = TimeZone::get(zone).unwrap();
            let at = |second| Timestamp::from_second(second).unwrap();
            let range = Range { from: at(from), to: at(from + length), zone };
            let partitions: Vec<Partition> = Partitions::new(&range, every).collect();
            prop_assert_eq!(partitions.first().map(|p| p.clipped.low), Some(range.from));
            prop_assert_eq!(partitions.last().map(|p| p.clipped.high), Some(range.to));
            for pair in partitions.windows(2) {
                prop_assert_eq!(pair[0].clipped.high, pair[1].clipped.low);
                prop_assert!(!pair[0].is_partial());
            }
            for partition in &partitions {
                prop_assert!(partition.clipped.low < partition.clipped.high);
                prop_assert_eq!(partition.nominal.low, partition.clipped.low);
                let hours = (partition.nominal.high.as_second() - partition.nominal.low.as_second()) / 3600;
                match every {
                    Every::None => {}
                    Every::Day => prop_assert!((1..=48).contains(&hours), "{} hours", hours),
                    Every::Month => prop_assert!((27 * 24..=32 * 24).contains(&hours), "{} hours", hours),
                }
            }
        }

        #[test]
        fn the_grid_does_not_depend_on_the_end(from in 1_262_304_000_i64..1_800_000_000, days in 2_i64..400, less in 1_i64..400) {
            let at = |second| Timestamp::from_second(second).unwrap();
            let zone = TimeZone::get("Europe/Vienna").unwrap();
            let long = Range { from: at(from), to: at(from + days * 86_400), zone };
            let short = Range { to: at(from + (days - days.min(less)) * 86_400), ..long.clone() };
            let nominal = |range: &Range| -> Vec<Interval> { Partitions::new(range, Every::Month).map(|p| p.nominal).collect() };
            let (long, short) = (nominal(&long), nominal(&short));
            prop_assert_eq!(&long[..short.len()], &short[..]);
        }
    }
}
