//! The vectors of DIL, and properties over random zones, ranges and steps.

use dil_model::config::TimeUnits;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Dates, or dates and times, on the clocks of `zone`.
fn range(from: &str, to: &str, zone: &str, schemes: &[(&str, &str)]) -> Range {
    let time: TimeUnits = serde_json::from_value(json!({
        "from": from, "to": to, "timezone": zone, "every": schemes[0].1,
        "then": schemes[1..].iter().map(|(from, every)| json!({ "from": from, "every": every })).collect::<Vec<_>>(),
    }))
    .unwrap();
    Range::read(&time, "2026-11-22T20:58:31Z".parse().unwrap()).unwrap()
}

fn partitions(range: &Range) -> Vec<Partition> {
    Partitions::new(range, Order::OldestFirst).collect()
}

/// The boundaries on the clocks of the zone, the end included; those of parts that `to` cuts short only with `partial`.
fn boundaries(range: &Range, partial: bool) -> Vec<String> {
    let kept: Vec<Partition> =
        partitions(range).into_iter().filter(|partition| partial || !partition.is_partial()).collect();
    let ends = kept.last().map(|last| last.clipped.high);
    let spell = |at: Timestamp| {
        let at = at.to_zoned(range.zone.clone()).datetime().to_string();
        at.strip_suffix("T00:00:00").map_or(at.clone(), str::to_owned)
    };
    kept.iter().map(|partition| partition.clipped.low).chain(ends).map(spell).collect()
}

const LA: &str = "America/Los_Angeles";

fn check(every: &str, from: &str, to: &str, partial: bool, expect: &[&str]) {
    let range = range(from, to, LA, &[("", every)]);
    assert_eq!(boundaries(&range, partial), expect, "{every} {from}..{to}");
}

/// Appendix C.2 of what is known of DIL.
#[test]
fn the_vectors_of_dil() {
    // BETTER B13: DIL goes on from each end and drifts to 02-29, 03-29, 04-29.
    check(
        "monthly",
        "2020-01-31",
        "2020-05-15",
        true,
        &["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30", "2020-05-15"],
    );
    check(
        "monthly",
        "2020-01-05",
        "2020-04-01",
        true,
        &["2020-01-05", "2020-02-05", "2020-03-05", "2020-04-01"],
    );
    check("monthly", "2020-01-05", "2020-04-01", false, &["2020-01-05", "2020-02-05", "2020-03-05"]);
    check(
        "weekly",
        "2020-01-06",
        "2020-02-21",
        true,
        &[
            "2020-01-06",
            "2020-01-13",
            "2020-01-20",
            "2020-01-27",
            "2020-02-03",
            "2020-02-10",
            "2020-02-17",
            "2020-02-21",
        ],
    );
    check(
        "daily",
        "2020-01-01T10:00",
        "2020-01-03",
        true,
        &["2020-01-01T10:00:00", "2020-01-02T10:00:00", "2020-01-03"],
    );
    check("yearly", "2018-02-01", "2020-03-01", false, &["2018-02-01", "2019-02-01", "2020-02-01"]);
    check("none", "2020-01-01", "2020-01-01", true, &[]);
    check("none", "2020-01-02", "2020-01-01", true, &[]);

    let days = range("2020-03-07", "2020-03-10", LA, &[("", "daily")]);
    let lows: Vec<i64> =
        partitions(&days).iter().map(|partition| partition.clipped.low.as_millisecond()).collect();
    assert_eq!(lows, [1_583_568_000_000, 1_583_654_400_000, 1_583_737_200_000]);
    assert_eq!(days.to.as_millisecond(), 1_583_823_600_000);
    assert_eq!(partitions(&range("2020-03-08", "2020-03-08T05:00", LA, &[("", "hourly")])).len(), 4);
    assert_eq!(partitions(&range("2020-11-01", "2020-11-01T04:00", LA, &[("", "hourly")])).len(), 5);
}

/// The table of composite ranges in section 3.6 of what is known of DIL. BETTER B14: clipped to the range, no gap.
#[test]
fn the_composite_vectors_of_dil() {
    let composite = |from: &str, to: &str, partial| {
        boundaries(&range(from, to, LA, &[("", "monthly"), ("2020-03-01", "daily")]), partial)
    };
    let days = |list: &[&str]| list.iter().map(|day| format!("2020-{day}")).collect::<Vec<_>>();
    // DIL never plans 03-04..03-10.
    let all = [
        "01-01", "02-01", "03-01", "03-02", "03-03", "03-04", "03-05", "03-06", "03-07", "03-08", "03-09",
        "03-10",
    ];
    assert_eq!(composite("2020-01-01", "2020-03-10", true), days(&all));
    let split = ["01-15", "02-15", "03-01", "03-02", "03-03"];
    assert_eq!(composite("2020-01-15", "2020-03-03", true), days(&split));
    // DIL leaves a hole 02-15..03-01: it takes the end of the monthly part for a partial end.
    assert_eq!(composite("2020-01-15", "2020-03-03", false), days(&split));
    // DIL skips the head before its first part; here a part begins where the range does.
    let head: Vec<String> =
        ["2019-12-15", "2020-01-15", "2020-02-15", "2020-03-01", "2020-03-02", "2020-03-03"]
            .map(str::to_owned)
            .to_vec();
    assert_eq!(composite("2019-12-15", "2020-03-03", true), head);
    // DIL reads February to its end, beyond `to`.
    assert_eq!(composite("2020-01-01", "2020-02-15", true), days(&["01-01", "02-01", "02-15"]));
    assert_eq!(composite("2020-01-01", "2020-02-15", false), days(&["01-01", "02-01"]));
}

#[test]
fn quarters_and_durations() {
    check(
        "quarter",
        "2019-11-30",
        "2020-09-01",
        true,
        &["2019-11-30", "2020-02-29", "2020-05-30", "2020-08-30", "2020-09-01"],
    );
    check(
        "P10D",
        "2020-02-25",
        "2020-03-20",
        true,
        &["2020-02-25", "2020-03-06", "2020-03-16", "2020-03-20"],
    );
    // Exact time, so the day the clocks are put forward has a boundary at 19:00.
    check(
        "PT6H",
        "2020-03-08",
        "2020-03-08T20:00",
        true,
        &[
            "2020-03-08",
            "2020-03-08T07:00:00",
            "2020-03-08T13:00:00",
            "2020-03-08T19:00:00",
            "2020-03-08T20:00:00",
        ],
    );
}

#[test]
fn where_from_moves_the_boundaries_stay_with_the_calendar() {
    let lows = |from: &str, every: &str, zone: &str| {
        let range = range(from, "P0D", zone, &[("", every)]);
        boundaries(&range, true).into_iter().take(2).collect::<Vec<_>>()
    };
    assert_eq!(lows("P30D", "day", LA), ["2026-10-23", "2026-10-24"]);
    assert_eq!(lows("P30D", "month", LA), ["2026-10-01", "2026-11-01"]);
    assert_eq!(lows("P30D", "week", LA), ["2026-10-19", "2026-10-26"]);
    assert_eq!(lows("P30D", "quarter", LA), ["2026-10-01", "2026-11-22"]);
    assert_eq!(lows("P30D", "year", "Europe/Vienna"), ["2026-01-01", "2026-11-22"]);
    assert_eq!(lows("P1D", "PT6H", "UTC"), ["2026-11-21", "2026-11-21T06:00:00"]);
    assert_eq!(lows("P30D", "none", LA), ["2026-10-23", "2026-11-22"]);
}

#[test]
fn a_moving_from_leaves_passed_steps_behind() {
    let schemes = [("", "month"), ("2026-11-01", "day")];
    assert_eq!(
        boundaries(&range("P60D", "P0D", "UTC", &schemes), true)[..3],
        ["2026-09-01", "2026-10-01", "2026-11-01"]
    );
    assert_eq!(boundaries(&range("P3D", "P0D", "UTC", &schemes), true)[..2], ["2026-11-19", "2026-11-20"]);
}

#[test]
fn steps_out_of_order_are_refused() {
    let read = |then: [&str; 2]| {
        let time = json!({
            "from": "2024-01-01", "every": "year",
            "then": then.map(|from| json!({ "from": from, "every": "day" })),
        });
        Range::read(&serde_json::from_value(time).unwrap(), Timestamp::UNIX_EPOCH).map_err(|error| error.code)
    };
    assert!(read(["2025-01-01", "2026-01-01"]).is_ok());
    assert_eq!(read(["2025-01-01", "2025-01-01"]), Err("plan/then".into()));
    assert_eq!(read(["2024-01-01", "2025-01-01"]), Err("plan/then".into()));
    assert_eq!(read(["2026-01-01", "2025-01-01"]), Err("plan/then".into()));
}

#[test]
fn a_day_has_23_to_25_hours() {
    let hours = |from, to| -> Vec<i64> {
        let length = |p: Partition| (p.nominal.high.as_second() - p.nominal.low.as_second()) / 3600;
        partitions(&range(from, to, "Europe/Vienna", &[("", "day")])).into_iter().map(length).collect()
    };
    assert_eq!(hours("2024-03-30", "2024-04-02"), [24, 23, 24]);
    assert_eq!(hours("2024-10-26", "2024-10-29"), [24, 25, 24]);
}

#[test]
fn a_day_that_a_zone_leaves_out_is_no_partition() {
    let range = range("2011-12-28", "2012-01-02", "Pacific/Apia", &[("", "day")]);
    assert_eq!(
        boundaries(&range, true),
        ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01", "2012-01-02"]
    );
}

#[test]
fn the_last_one_keeps_its_whole_name_and_is_read_up_to_the_end() {
    let last = *partitions(&range("2024-01-01", "2024-02-15", "UTC", &[("", "month")])).last().unwrap();
    assert!(last.is_partial());
    assert_eq!(last.nominal.to_string(), "[2024-02-01T00:00:00Z, 2024-03-01T00:00:00Z)");
    assert_eq!(last.clipped.to_string(), "[2024-02-01T00:00:00Z, 2024-02-15T00:00:00Z)");
}

#[test]
fn ends_where_the_calendar_ends() {
    let at = |every: &str| {
        let every = Every::parse(every).unwrap();
        let from = "9999-11-15T00:00:00Z".parse().unwrap();
        let range = Range {
            from,
            moving: false,
            to: Timestamp::MAX,
            zone: TimeZone::UTC,
            schemes: vec![(from, every)],
        };
        partitions(&range)
    };
    assert_eq!(at("month").last().unwrap().clipped.high, Timestamp::MAX);
    assert!(at("day").len() < 60);
    assert_eq!(at("year").len(), 1);
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

fn any_every() -> impl Strategy<Value = Every> {
    let words =
        ["none", "hour", "day", "week", "month", "quarter", "year", "PT7H", "P10D", "P1M3D", "P1DT5H"];
    prop::sample::select(words.to_vec()).prop_map(|word| Every::parse(word).unwrap())
}

prop_compose! {
    /// Up to a year and more, with up to two further steps.
    fn any_range()(
        from in 1_262_304_000_i64..1_800_000_000,
        length in 1_i64..(400 * 86_400),
        zone in prop::sample::select(&ZONES[..]),
        moving in any::<bool>(),
        schemes in prop::collection::vec((1_i64..(300 * 86_400), any_every()), 1..4),
    ) -> Range {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut begin = from;
        let schemes = schemes.into_iter().enumerate().map(|(number, (after, every))| {
            begin += if number == 0 { 0 } else { after };
            (at(begin), every)
        }).collect();
        Range { from: at(from), moving, to: at(from + length), zone: TimeZone::get(zone).unwrap(), schemes }
    }
}

proptest! {
    #[test]
    fn they_tile_the_range_exactly(range in any_range()) {
        let partitions = partitions(&range);
        let first = partitions.first().map(|p| p.clipped.low);
        if range.moving {
            prop_assert!(first <= Some(range.from));
            prop_assert!(partitions.first().is_some_and(|p| p.nominal.high > range.from));
        } else {
            prop_assert_eq!(first, Some(range.from));
        }
        prop_assert_eq!(partitions.last().map(|p| p.clipped.high), Some(range.to));
        for pair in partitions.windows(2) {
            prop_assert_eq!(pair[0].clipped.high, pair[1].clipped.low);
            prop_assert!(!pair[0].is_partial());
        }
        for partition in &partitions {
            prop_assert!(partition.clipped.low < partition.clipped.high);
            prop_assert_eq!(partition.nominal.low, partition.clipped.low);
        }
        let mut backwards: Vec<Partition> = Partitions::new(&range, Order::NewestFirst).collect();
        prop_assert!(backwards.len() as u64 <= Partitions::new(&range, Order::NewestFirst).at_most());
        backwards.reverse();
        prop_assert_eq!(backwards, partitions);
    }

    #[test]
    fn no_interval_is_longer_than_its_step(range in any_range()) {
        for partition in partitions(&range) {
            let step = range.schemes.iter().rev().find(|(at, _)| *at <= partition.nominal.low);
            let Some((_, Every::Step(step))) = step.or(range.schemes.first()) else { continue };
            let low = partition.nominal.low.to_zoned(range.zone.clone());
            // A month from the 31st, a day from a clock time that a zone skips: up to three days and a bit more.
            let longest = low.checked_add(step.times(1).unwrap()).unwrap().timestamp().as_second() + 4 * 86_400;
            prop_assert!(partition.nominal.high.as_second() <= longest, "{} of {}", partition.nominal, step);
        }
    }

    #[test]
    fn the_grid_depends_neither_on_the_end_nor_on_where_a_moving_from_is(
        range in any_range(), days in 1_i64..60
    ) {
        let shorter = Range { to: range.to.checked_sub(jiff::SignedDuration::from_hours(24 * days)).unwrap(), ..range.clone() };
        let nominal = |range: &Range| -> Vec<Interval> { partitions(range).into_iter().map(|p| p.nominal).collect() };
        // An interval without a step ends with the range.
        if range.schemes.iter().all(|(_, every)| *every != Every::None) {
            let (long, short) = (nominal(&range), nominal(&shorter));
            prop_assert_eq!(&long[..short.len()], &short[..]);
        }
        if let [(from, every @ Every::Step(_))] = range.schemes[..] {
            let from = from.checked_sub(jiff::SignedDuration::from_hours(24 * days)).unwrap();
            let earlier = Range { from, moving: true, schemes: vec![(from, every)], ..range.clone() };
            let later = Range { moving: true, ..range };
            let (earlier, later) = (nominal(&earlier), nominal(&later));
            prop_assert!(earlier.ends_with(&later));
        }
    }
}
