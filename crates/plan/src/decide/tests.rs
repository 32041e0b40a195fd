//! The rules one by one, then as properties over many runs.

use std::collections::BTreeMap;

use dil_model::config::{Each, Order, Partial, Scalar};
use dil_model::setting::Every;
use dil_model::{Error, ErrorKind, KeyRange};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::partition::{Partition, Partitions};
use crate::range::Range;
use crate::values::ValueList;

fn at(text: &str) -> Timestamp {
    let text = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    text.parse().unwrap()
}

/// `units.time` as YAML would give it.
pub(super) fn time(settings: serde_json::Value) -> Units {
    serde_json::from_value(json!({ "time": settings })).unwrap()
}

pub(super) fn with_values(mut units: Units, values: &[&str], max: Option<u64>) -> Units {
    let values = values.iter().map(|text| Scalar(text.to_string())).collect();
    units.each = Some(Each { values, name: Some("f".into()), ..Each::default() });
    units.max = max;
    units
}

pub(super) type Ledger = BTreeMap<String, History>;

pub(super) fn done(high: &str) -> History {
    History { recorded_high: Some(at(high)), done_before: true, ..History::default() }
}

pub(super) fn ledger(entries: &[(&str, History)]) -> Ledger {
    entries.iter().map(|(signature, history)| (signature.to_string(), history.clone())).collect()
}

/// What would be asked of a ledger with these entries.
fn look_up(ledger: &Ledger) -> impl FnMut(&[String]) -> Result<Vec<Option<History>>> {
    |names| Ok(names.iter().map(|name| ledger.get(name).cloned()).collect())
}

pub(super) fn plan(units: &Units, now: &str, ledger: &Ledger) -> Vec<Decision> {
    plan_only(units, now, ledger, &[])
}

fn plan_only(units: &Units, now: &str, ledger: &Ledger, only: &[Selection]) -> Vec<Decision> {
    let latest = ledger.values().filter_map(|history| history.recorded_high).max();
    let values = Values::literal(Some(units)).unwrap();
    let input =
        StageInput { units: Some(units), now: at(now), values: &values, latest, backfill: false, only };
    decide(&input, look_up(ledger)).unwrap().map(Result::unwrap).collect()
}

/// `signature low..high reason[ adds]` of what runs; dates only.
pub(super) fn runs(decisions: &[Decision]) -> Vec<String> {
    let day = |at: Timestamp| at.strftime("%m-%d").to_string();
    let run = |decision: &Decision| match decision {
        Decision::Skip { .. } => None,
        Decision::Run(unit) => {
            let interval =
                unit.interval.map(|i| format!("{}..{}", day(i.low), day(i.high))).unwrap_or_default();
            let each = unit.each.get("f").and_then(|value| value.as_str()).unwrap_or_default();
            Some(
                format!("{each} {interval} {:?}{}", unit.reason, if unit.replaces { "" } else { " adds" })
                    .trim()
                    .to_owned(),
            )
        }
    };
    decisions.iter().filter_map(run).collect()
}

fn skips(decisions: &[Decision], reason: Skip) -> usize {
    decisions
        .iter()
        .filter(|decision| matches!(decision, Decision::Skip { why, .. } if *why == reason))
        .count()
}

fn daily_until(to: &str) -> Units {
    time(json!({ "from": "2020-01-01", "to": to, "every": "day" }))
}

fn day_done(day: u32) -> (String, History) {
    (format!("time=2020-01-{day:02}T00:00:00Z"), done(&format!("2020-01-{:02}", day + 1)))
}

fn days_done(days: &[u32]) -> Ledger {
    days.iter().map(|day| day_done(*day)).collect()
}

#[test]
fn a_stage_without_units_is_one_unit_that_runs_every_time() {
    let values = Values::literal(None).unwrap();
    let input = StageInput {
        units: None,
        now: at("2020-01-01"),
        values: &values,
        latest: None,
        backfill: false,
        only: &[],
    };
    let known = ledger(&[("all", History { done_before: true, ..History::default() })]);
    let decisions: Vec<Decision> = decide(&input, look_up(&known)).unwrap().map(Result::unwrap).collect();
    let [Decision::Run(unit)] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!(
        (unit.signature.as_str(), unit.interval, unit.reason, unit.replaces),
        ("all", None, Reason::Snapshot, true)
    );
}

#[test]
fn what_was_never_recorded_is_new_however_old() {
    let units = daily_until("2020-01-06");
    let decisions = plan(&units, "2020-02-01", &days_done(&[1, 3, 4]));
    assert_eq!(runs(&decisions), ["01-02..01-03 New", "01-05..01-06 New"]);
    assert_eq!(skips(&decisions, Skip::Done), 3);
}

#[test]
fn what_failed_runs_again_once_newer_ones_are_done() {
    let mut known = days_done(&[1, 3, 4]);
    known.insert("time=2020-01-02T00:00:00Z".into(), History { failed: true, ..History::default() });
    assert_eq!(
        runs(&plan(&daily_until("2020-01-06"), "2020-02-01", &known)),
        ["01-02..01-03 FailedBefore", "01-05..01-06 New"]
    );
}

#[test]
fn done_units_make_no_empty_intervals() {
    assert_eq!(runs(&plan(&daily_until("2020-01-05"), "2020-02-01", &days_done(&[1, 2, 3, 4]))), [""; 0]);
    let undivided = time(json!({ "from": "2020-01-01", "to": "2020-01-16" }));
    assert_eq!(
        runs(&plan(&undivided, "2020-02-01", &ledger(&[("time=2020-01-01T00:00:00Z", done("2020-01-16"))]))),
        [""; 0]
    );
}

#[test]
fn an_unfinished_unit_reads_on_and_adds() {
    let units = time(json!({ "from": "2020-01-01", "every": "month" }));
    let known = ledger(&[("time=2020-01-01T00:00:00Z", done("2020-01-10"))]);
    assert_eq!(runs(&plan(&units, "2020-01-16", &known)), ["01-10..01-16 Unfinished adds"]);
    assert_eq!(runs(&plan(&units, "2020-01-10", &known)), [""; 0]);
    assert_eq!(
        runs(&plan(&units, "2020-02-05", &known)),
        ["01-10..02-01 Unfinished adds", "02-01..02-05 New"]
    );
}

#[test]
fn an_unfinished_unit_with_grace_is_read_again_whole() {
    let units = time(json!({ "from": "2020-01-01", "every": "month", "grace": "3d" }));
    let known = ledger(&[("time=2020-01-01T00:00:00Z", done("2020-01-10"))]);
    assert_eq!(runs(&plan(&units, "2020-01-16", &known)), ["01-01..01-16 Unfinished"]);
    // Recorded as far as there is anything, and late rows may have come.
    assert_eq!(runs(&plan(&units, "2020-01-10", &known)), ["01-01..01-10 Late"]);
}

#[test]
fn grace_reads_again_what_ends_after_the_cut_off() {
    let units = time(json!({ "from": "2020-01-01", "to": "2020-01-06", "every": "day", "grace": "2d" }));
    let decisions = plan(&units, "2020-02-01", &days_done(&[1, 2, 3, 4]));
    // Cut-off 01-03: the day that ends there is left alone.
    assert_eq!(runs(&decisions), ["01-03..01-04 Late", "01-04..01-05 Late", "01-05..01-06 New"]);
}

#[test]
fn the_cut_off_counts_calendar_days_in_the_zone() {
    let units = time(
        json!({ "from": "2024-03-28", "to": "2024-04-01", "every": "day", "timezone": "Europe/Vienna", "grace": "1d" }),
    );
    let signatures =
        ["2024-03-27T23:00:00Z", "2024-03-28T23:00:00Z", "2024-03-29T23:00:00Z", "2024-03-30T23:00:00Z"];
    let highs =
        ["2024-03-28T23:00:00Z", "2024-03-29T23:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"];
    let known: Ledger =
        signatures.iter().zip(highs).map(|(low, high)| (format!("time={low}"), done(high))).collect();
    let decisions = plan(&units, "2024-05-01", &known);
    // One day before 31 March 24:00 is 30 March 24:00, 23 hours earlier.
    assert_eq!(runs(&decisions), ["03-30..03-31 Late"]);
}

#[test]
fn a_part_is_dropped_until_it_is_whole() {
    let units = time(json!({ "from": "2020-01-01", "every": "day", "partial": "drop" }));
    let decisions = plan(&units, "2020-01-03T12:00:00Z", &Ledger::new());
    assert_eq!(runs(&decisions), ["01-01..01-02 New", "01-02..01-03 New"]);
    assert_eq!(skips(&decisions, Skip::Partial), 1);
    let whole = plan(&units, "2020-01-03", &Ledger::new());
    assert_eq!((runs(&whole).len(), skips(&whole, Skip::Partial)), (2, 0));
}

#[test]
fn oldest_interval_first_then_value_and_max_cuts_there() {
    let units = with_values(daily_until("2020-01-03"), &["b", "a"], Some(3));
    let decisions = plan(&units, "2020-02-01", &Ledger::new());
    assert_eq!(runs(&decisions), ["a 01-01..01-02 New", "b 01-01..01-02 New", "a 01-02..01-03 New"]);
    assert_eq!(skips(&decisions, Skip::BeyondMax), 1);
}

#[test]
fn max_counts_failed_units_like_any() {
    let units = with_values(daily_until("2020-01-02"), &["a", "b", "c"], Some(2));
    let failed = History { failed: true, ..History::default() };
    let decisions = plan(&units, "2020-02-01", &ledger(&[("f=a,time=2020-01-01T00:00:00Z", failed)]));
    assert_eq!(runs(&decisions), ["a 01-01..01-02 FailedBefore", "b 01-01..01-02 New"]);
}

#[test]
fn no_unit_starves_behind_growing_ones() {
    let units = with_values(time(json!({ "from": "2020-01-01" })), &["f1", "f2", "f3"], Some(2));
    let mut known = Ledger::new();
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    for day in 10..19 {
        let now = format!("2020-01-{day}");
        for decision in plan(&units, &now, &known) {
            if let Decision::Run(unit) = decision {
                *taken.entry(unit.signature.clone()).or_default() += 1;
                known.insert(unit.signature, done(&now));
            }
        }
    }
    // With room for two of three, each waits for one run at most.
    assert!(taken.len() == 3 && taken.values().all(|times| *times >= 4), "{taken:?}");
}

#[test]
fn no_unit_starves_behind_late_or_full_ones() {
    let late = Units {
        max: Some(2),
        ..time(json!({ "from": "2020-01-01", "to": "2020-01-06", "every": "day", "grace": "3d" }))
    };
    let decisions = plan(&late, "2020-02-01", &days_done(&[1, 2, 3, 4]));
    assert_eq!(runs(&decisions), ["01-02..01-03 Late", "01-05..01-06 New"]);

    let full = with_values(Units::default(), &["f1", "f2", "f3"], Some(2));
    let read = |day: &str| History { done_before: true, tried: Some(at(day)), ..History::default() };
    let known = ledger(&[("f=f1", read("2020-01-02")), ("f=f2", read("2020-01-01"))]);
    assert_eq!(runs(&plan(&full, "2020-02-01", &known)), ["f2  Snapshot", "f3  New"]);
}

#[test]
fn a_range_that_begins_in_the_future_has_no_units_yet() {
    assert_eq!(
        plan(&time(json!({ "from": "2030-01-01", "every": "day" })), "2020-01-01", &Ledger::new()),
        []
    );
}

#[test]
fn no_rows_upstream_make_no_units_in_any_interval() {
    let each = Each { rows_of: Some("s".into()), fields: vec!["id".into()], ..Each::default() };
    let units = Units { each: Some(each), ..daily_until("2020-01-06") };
    assert_eq!(plan(&units, "2020-02-01", &Ledger::new()), []);
}

#[test]
fn what_the_ledger_cannot_tell_ends_the_plan() {
    let units = daily_until("2020-01-06");
    let values = Values::literal(Some(&units)).unwrap();
    let input = StageInput {
        units: Some(&units),
        now: at("2020-02-01"),
        values: &values,
        latest: None,
        backfill: false,
        only: &[],
    };
    let broken = |_: &[String]| Err(Error::new(ErrorKind::State, "state/corrupt", "unreadable"));
    let items: Vec<Result<Decision>> = decide(&input, broken).unwrap().collect();
    assert!(matches!(&items[..], [Err(error)] if error.code == "state/corrupt"));
}

#[test]
fn a_million_units_are_not_held() {
    let units = time(json!({ "from": "0001-01-01", "to": "9999-01-01", "every": "day" }));
    let values = Values::literal(Some(&units)).unwrap();
    let input = StageInput {
        units: Some(&units),
        now: at("2020-02-01"),
        values: &values,
        latest: None,
        backfill: false,
        only: &[],
    };
    let asked = std::cell::Cell::new(0);
    let history = |names: &[String]| {
        asked.set(asked.get() + names.len());
        Ok(vec![None; names.len()])
    };
    assert_eq!(decide(&input, history).unwrap().take(3).count(), 3);
    assert_eq!(asked.get(), BATCH);
}

#[test]
fn far_too_many_units_are_refused() {
    let units = time(json!({ "from": "0001-01-01", "to": "9999-01-01", "every": "PT1M" }));
    let values = Values::literal(Some(&units)).unwrap();
    let input = StageInput {
        units: Some(&units),
        now: at("2020-02-01"),
        values: &values,
        latest: None,
        backfill: false,
        only: &[],
    };
    let error = decide(&input, |_: &[String]| Ok(Vec::new())).err().unwrap();
    assert_eq!(error.code, "plan/too-many-units");
}

#[test]
fn a_snapshot_reads_the_whole_range_every_time() {
    // DIL's example O. BETTER B19: not only what lies behind the recorded high.
    let units = Units { snapshot: true, ..time(json!({ "from": "2020-01-01", "to": "2020-01-16" })) };
    let known = ledger(&[("time=2020-01-01T00:00:00Z", done("2020-01-15"))]);
    assert_eq!(runs(&plan(&units, "2020-02-01", &known)), ["01-01..01-16 Snapshot"]);
}

#[test]
fn a_window_that_moves_is_one_unit_read_in_full() {
    let units = time(json!({ "from": "P3D", "to": "P0D" }));
    let decisions = plan(&units, "2020-01-20T10:00:00Z", &ledger(&[("all", done("2020-01-19"))]));
    assert_eq!(runs(&decisions), ["01-17..01-20 Snapshot"]);
    let Decision::Run(unit) = &decisions[0] else { panic!("{decisions:?}") };
    assert_eq!((unit.signature.as_str(), unit.nominal), ("all", None));
}

#[test]
fn late_rows_may_be_added_instead_of_read_again() {
    let units = |to: &str, every: &str| {
        time(json!({ "from": "2020-01-01", "to": to, "every": every, "grace": "2d", "late": "append" }))
    };
    let decisions = plan(&units("2020-01-06", "day"), "2020-02-01", &days_done(&[1, 2, 3, 4]));
    assert_eq!(runs(&decisions), ["01-03..01-04 Late adds", "01-04..01-05 Late adds", "01-05..01-06 New"]);
    // DIL's example B, with two days.
    let known = ledger(&[("time=2020-01-01T00:00:00Z", done("2020-01-15"))]);
    assert_eq!(
        runs(&plan(&units("2020-01-16", "none"), "2020-02-01", &known)),
        ["01-13..01-16 Unfinished adds"]
    );
}

/// Recorded up to `high`, in a run of that time.
pub(super) fn read_at(high: &str) -> History {
    History { recorded_at: Some(at(high)), ..done(high) }
}

#[test]
fn abstinence_leaves_alone_what_was_read_lately_and_nothing_that_failed() {
    let units = |days: u32| Units {
        abstinence: Some(serde_json::from_value(json!(format!("{days}d"))).unwrap()),
        ..time(json!({ "from": "2020-01-01" }))
    };
    let known = ledger(&[("time=2020-01-01T00:00:00Z", read_at("2020-01-15"))]);
    // DIL's examples C and C2. BETTER B17, B18: no empty interval, and the low watermark does not move.
    assert_eq!(runs(&plan(&units(1), "2020-01-16", &known)), ["01-15..01-16 Unfinished adds"]);
    let decisions = plan(&units(2), "2020-01-16", &known);
    assert_eq!((runs(&decisions).len(), skips(&decisions, Skip::Abstinence)), (0, 1));
    let owing = History { owing: true, failed: true, ..read_at("2020-01-15") };
    let known = ledger(&[("time=2020-01-01T00:00:00Z", owing)]);
    assert_eq!(runs(&plan(&units(2), "2020-01-16", &known)), ["01-15..01-16 Unfinished adds"]);
}

#[test]
fn a_unit_is_read_again_when_its_version_changes_and_else_not() {
    let each = Each {
        rows_of: Some("s".into()),
        fields: vec!["path".into()],
        version: vec!["size".into()],
        ..Each::default()
    };
    let units = Units { each: Some(each), ..Units::default() };
    let mut list = ValueList::new(units.each.as_ref().unwrap());
    for (path, size) in [("a", 1), ("b", 2), ("c", 3)] {
        list.push(&serde_json::from_value(json!({ "path": path, "size": size })).unwrap()).unwrap();
    }
    let values = Values::new(vec![list], ValueList::backlog(Some(&units))).unwrap();
    let read =
        |version: &str| History { done_before: true, version: Some(version.into()), ..History::default() };
    let known = ledger(&[("path=a", read("size=1")), ("path=b", read("size=1"))]);
    let input = StageInput {
        units: Some(&units),
        now: at("2020-02-01"),
        values: &values,
        latest: None,
        backfill: false,
        only: &[],
    };
    let decisions: Vec<Decision> = decide(&input, look_up(&known)).unwrap().map(Result::unwrap).collect();
    let found: Vec<(&str, Reason, Option<&str>)> = decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Run(unit) => Some((unit.signature.as_str(), unit.reason, unit.version.as_deref())),
            Decision::Skip { .. } => None,
        })
        .collect();
    assert_eq!(found, [("path=b", Reason::Changed, Some("size=2")), ("path=c", Reason::New, Some("size=3"))]);
}

/// `signature low..high reason[ adds]` of what runs of a stage with keys.
fn key_runs(units: serde_json::Value, known: &[(&str, History)]) -> Vec<String> {
    let units: Units = serde_json::from_value(units).unwrap();
    let run = |decision: &Decision| match decision {
        Decision::Skip { .. } => None,
        Decision::Run(unit) => {
            let key = match unit.key.as_ref().unwrap() {
                KeyRange::Between { low, high } => format!("{low}..{high}"),
                KeyRange::Above { after: Some(after), .. } => format!("after {after}"),
                KeyRange::Above { after: None, .. } => "all".to_owned(),
            };
            let adds = if unit.replaces { "" } else { " adds" };
            Some(format!("{} {key} {:?}{adds}", unit.signature, unit.reason))
        }
    };
    plan(&units, "2020-02-01", &ledger(known)).iter().filter_map(run).collect()
}

fn key_done(key: serde_json::Value) -> History {
    History { recorded_key: Some(key), done_before: true, ..History::default() }
}

#[test]
fn keys_are_cut_like_time() {
    let units = |to: i64| json!({ "key": { "from": 0, "to": to, "every": 100 } });
    assert_eq!(
        key_runs(units(250), &[]),
        ["key=0 0..100 New", "key=100 100..200 New", "key=200 200..250 New"]
    );
    let known = [("key=0", key_done(json!(100))), ("key=200", key_done(json!(250)))];
    assert_eq!(key_runs(units(250), &known), ["key=100 100..200 New"]);
    // The range has grown: the last unit reads on.
    assert_eq!(
        key_runs(units(310), &known[..]),
        ["key=100 100..200 New", "key=200 250..300 Unfinished adds", "key=300 300..310 New"]
    );
}

#[test]
fn a_growing_key_reads_on_from_the_greatest_one() {
    let units = json!({ "key": { "field": "id" } });
    assert_eq!(key_runs(units.clone(), &[]), ["all all New"]);
    assert_eq!(key_runs(units.clone(), &[("all", key_done(json!(42)))]), ["all after 42 Onward adds"]);
    assert_eq!(key_runs(units.clone(), &[("all", key_done(json!("m")))]), ["all after \"m\" Onward adds"]);
    // It was read, and there was nothing.
    let empty = History { done_before: true, ..History::default() };
    assert_eq!(key_runs(units, &[("all", empty)]), ["all all Onward"]);
}

#[test]
fn a_backfill_reads_whole_units_and_no_further_than_what_is_published() {
    let units = time(json!({ "from": "2020-01-01", "every": "month" }));
    let plan = |own: Option<&str>, published: Option<&str>| {
        let history = History { published_high: published.map(at), ..own.map(done).unwrap_or_default() };
        let values = Values::literal(Some(&units)).unwrap();
        let input = StageInput {
            units: Some(&units),
            now: at("2020-01-20"),
            values: &values,
            latest: None,
            backfill: true,
            only: &[],
        };
        let known = ledger(&[("time=2020-01-01T00:00:00Z", history)]);
        runs(&decide(&input, look_up(&known)).unwrap().map(Result::unwrap).collect::<Vec<_>>())
    };
    // What reads on from the 10th would add what comes behind it a second time.
    assert_eq!(plan(None, Some("2020-01-10")), ["01-01..01-10 New"]);
    assert_eq!(plan(None, None), ["01-01..01-20 New"]);
    assert_eq!(plan(Some("2020-01-10"), Some("2020-01-10")), [""; 0]);
    assert_eq!(plan(Some("2020-01-10"), Some("2020-01-15")), ["01-01..01-15 Unfinished"]);
}

#[test]
fn newest_first_goes_from_the_end_and_max_takes_from_there() {
    let units =
        Units { order: Order::NewestFirst, ..with_values(daily_until("2020-01-04"), &["a", "b"], Some(3)) };
    let decisions = plan(&units, "2020-02-01", &Ledger::new());
    assert_eq!(runs(&decisions), ["a 01-03..01-04 New", "b 01-03..01-04 New", "a 01-02..01-03 New"]);
}

#[test]
fn a_choice_leaves_the_others_for_later() {
    let units = with_values(daily_until("2020-01-04"), &["a", "b"], None);
    let failed = History { failed: true, owing: true, ..History::default() };
    let known = ledger(&[
        ("f=a,time=2020-01-01T00:00:00Z", failed.clone()),
        ("f=b,time=2020-01-02T00:00:00Z", failed),
    ]);
    let chosen = |only: Selection| plan_only(&units, "2020-02-01", &known, &[only]);
    let b = Selection { values: vec![("f".into(), "b".into())], ..Selection::default() };
    assert_eq!(
        runs(&chosen(b.clone())),
        ["b 01-01..01-02 New", "b 01-02..01-03 FailedBefore", "b 01-03..01-04 New"]
    );
    let day = Selection { time: Selection::stretch(at("2020-01-02T12:00:00Z"), None), ..b };
    let decisions = chosen(day);
    assert_eq!(runs(&decisions), ["b 01-02..01-03 FailedBefore"]);
    assert_eq!(decisions.iter().filter(|decision| decision.owing().is_some()).count(), 6);
    let failed = Selection { failed: true, ..Selection::default() };
    assert_eq!(runs(&chosen(failed)), ["a 01-01..01-02 FailedBefore", "b 01-02..01-03 FailedBefore"]);
}

#[test]
fn two_values_a_partial_last_month_and_max_reached_lose_nothing() {
    let units = |to: &str| {
        with_values(time(json!({ "from": "2020-01-01", "to": to, "every": "month" })), &["a", "b"], Some(2))
    };
    let mut known = Ledger::new();
    let mut run = |to: &str| {
        let decisions = plan(&units(to), to, &known);
        for decision in &decisions {
            if let Decision::Run(unit) = decision {
                known.insert(unit.signature.clone(), read_at(&unit.interval.unwrap().high.to_string()));
            }
        }
        runs(&decisions)
    };
    assert_eq!(run("2020-02-15"), ["a 01-01..02-01 New", "b 01-01..02-01 New"]);
    assert_eq!(run("2020-02-16"), ["a 02-01..02-16 New", "b 02-01..02-16 New"]);
    // The month goes on while the next one begins: what it still owes comes first.
    assert_eq!(run("2020-03-05"), ["a 02-16..03-01 Unfinished adds", "b 02-16..03-01 Unfinished adds"]);
    assert_eq!(run("2020-03-05"), ["a 03-01..03-05 New", "b 03-01..03-05 New"]);
    assert_eq!(run("2020-03-05"), [""; 0]);
}

fn some_units() -> impl Strategy<Value = Units> {
    let zone = prop::sample::select(vec!["UTC", "Europe/Vienna", "Pacific/Apia", "Asia/Kathmandu"]);
    let every = prop::sample::select(vec!["none", "day", "week", "month", "PT50H"]);
    let partial = prop::sample::select(vec!["keep", "drop"]);
    (zone, every, partial, prop::option::of(1_u64..9), 0_usize..3).prop_map(
        |(zone, every, partial, max, values)| {
            let units =
                time(json!({ "from": "2011-12-20", "every": every, "timezone": zone, "partial": partial }));
            with_values(units, &["a", "b", "c"][..=values], max)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn after_any_part_succeeded_the_rest_is_planned_and_nothing_else(
        units in some_units(), hours in 1_i64..2000, succeeded in any::<u64>()
    ) {
        let units = Units { max: None, ..units };
        let now = (at("2011-12-20").as_second() + hours * 3600).to_string();
        let now = Timestamp::from_second(now.parse().unwrap()).unwrap().to_string();
        let planned = |known: &Ledger| -> Vec<PlannedUnit> {
            let unit = |decision| match decision { Decision::Run(unit) => Some(*unit), Decision::Skip { .. } => None };
            plan(&units, &now, known).into_iter().filter_map(unit).collect()
        };
        let all = planned(&Ledger::new());
        let good = |number: usize| succeeded >> (number % 64) & 1 == 1;
        let known = all.iter().enumerate().filter(|(number, _)| good(*number))
            .map(|(_, unit)| (unit.signature.clone(), done(&unit.interval.unwrap().high.to_string()))).collect();
        let rest: Vec<PlannedUnit> = all.into_iter().enumerate().filter(|(number, _)| !good(*number)).map(|(_, unit)| unit).collect();
        prop_assert_eq!(planned(&known), rest);
    }

    #[test]
    fn over_many_runs_every_instant_is_read_once(units in some_units(), steps in prop::collection::vec(1_i64..400, 1..12), failing in any::<u64>()) {
        let mut known = Ledger::new();
        let mut read: BTreeMap<String, Vec<Interval>> = BTreeMap::new();
        let (mut second, mut tries) = (at("2011-12-20").as_second(), 0);
        // After the given runs come enough that do not fail to take all that is left.
        let settle = std::iter::repeat_n(&0, 400);
        for (run, hours) in steps.iter().chain(settle).enumerate() {
            second += hours * 3600;
            let now = Timestamp::from_second(second).unwrap().to_string();
            let mut any = false;
            for decision in plan(&units, &now, &known) {
                let Decision::Run(unit) = decision else { continue };
                (any, tries) = (true, tries + 1);
                let interval = unit.interval.unwrap();
                prop_assert!(interval.low < interval.high && unit.replaces == (unit.reason != Reason::Unfinished));
                if run < steps.len() && failing >> (tries % 64) & 1 == 1 {
                    known.entry(unit.signature).or_default().failed = true;
                } else {
                    known.insert(unit.signature, done(&interval.high.to_string()));
                    read.entry(unit.each["f"].to_string()).or_default().push(interval);
                }
            }
            if run >= steps.len() && !any {
                break;
            }
        }
        let end = Timestamp::from_second(second).unwrap();
        let time = units.time.as_ref().unwrap();
        let range = Range::read(time, end).unwrap();
        let expect: Vec<Partition> = Partitions::new(&range, Order::OldestFirst)
            .filter(|p| time.partial == Partial::Keep || time.every == Every::None || !p.is_partial()).collect();
        for intervals in read.values_mut() {
            intervals.sort();
            prop_assert_eq!(intervals.first().map(|i| i.low), expect.first().map(|p| p.clipped.low));
            prop_assert_eq!(intervals.last().map(|i| i.high), expect.last().map(|p| p.clipped.high));
            prop_assert!(intervals.windows(2).all(|pair| pair[0].high == pair[1].low), "{:?}", intervals);
        }
        if !expect.is_empty() {
            prop_assert_eq!(read.len(), units.each.as_ref().unwrap().values.len());
        }
    }

    /// DIL's example J3, for any number of units, some of which fail every time.
    #[test]
    fn each_unit_has_its_turn_within_as_many_runs_as_it_takes_to_go_round(
        count in 1_usize..12, max in 1_u64..5, failing in any::<u16>(), every in prop::sample::select(vec!["none", "month"])
    ) {
        let names: Vec<String> = (0..count).map(|number| format!("f{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // A month is longer than the test's runs reach, so either way there are as many units as values.
        let units = with_values(time(json!({ "from": "2020-01-01", "every": every })), &names, Some(max));
        let round = count.div_ceil(usize::try_from(max).unwrap());
        let mut known = Ledger::new();
        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        for run in 0..3 * round {
            let now = Timestamp::from_second(at("2020-01-02").as_second() + i64::try_from(run).unwrap() * 3600).unwrap().to_string();
            for decision in plan(&units, &now, &known) {
                let Decision::Run(unit) = decision else { continue };
                let number: usize = unit.each["f"].as_str().unwrap()[1..].parse().unwrap();
                let history = if failing >> number & 1 == 1 {
                    History { failed: true, owing: true, tried: Some(at(&now)), ..History::default() }
                } else {
                    History { tried: Some(at(&now)), ..done(&now) }
                };
                known.insert(unit.signature.clone(), history);
                let before = last.insert(unit.signature, run);
                prop_assert!(before.is_none_or(|before| run - before <= round), "every {} runs", round);
            }
            if run + 1 >= round {
                prop_assert_eq!(last.len(), count);
                prop_assert!(last.values().all(|last| run - last < round));
            }
        }
    }

    #[test]
    fn the_order_of_upstream_rows_changes_neither_the_plan_nor_what_max_takes(
        ids in prop::collection::vec(0_i64..20, 1..20), max in 1_u64..12, turn in 0_usize..20
    ) {
        let each = Each { rows_of: Some("s".into()), fields: vec!["id".into()], ..Each::default() };
        let units = Units { each: Some(each), max: Some(max), ..daily_until("2020-01-04") };
        let rows: Vec<EachRow> = ids.iter().map(|id| EachRow::from_iter([("id".to_owned(), json!(id))])).collect();
        let mut turned = rows.clone();
        turned.rotate_left(turn % rows.len());
        turned.reverse();
        let decisions = |rows: &[EachRow]| -> Vec<Decision> {
            let mut list = ValueList::new(units.each.as_ref().unwrap());
            rows.iter().for_each(|row| list.push(row).unwrap());
            let values = Values::new(vec![list], ValueList::backlog(Some(&units))).unwrap();
            let input = StageInput { units: Some(&units), now: at("2020-02-01"), values: &values, latest: None, backfill: false, only: &[] };
            decide(&input, |names: &[String]| Ok(vec![None; names.len()])).unwrap().map(Result::unwrap).collect()
        };
        prop_assert_eq!(decisions(&rows), decisions(&turned));
    }
}
