//! What DIL planned, example by example, and where we do better.

use serde_json::json;

use super::tests::{Ledger, done, ledger, plan, read_at, runs, time};
use super::*;

/// A case of the table in section 3.7 of what is known of DIL: settings, what was recorded up to where, what runs. DIL's own
/// result stands behind where ours is better.
struct Vector {
    name: &'static str,
    /// `units`, and as JSON so that a case reads as a flow file does.
    units: serde_json::Value,
    recorded: &'static [(&'static str, &'static str)],
    failed: &'static [&'static str],
    runs: &'static [&'static str],
}

/// The planning vectors of DIL (Appendix C.3), in UTC where DIL takes Los Angeles.
#[test]
fn the_planning_vectors_of_dil() {
    let none = |to: &str| json!({ "from": "2020-01-01", "to": to });
    let daily = |to: &str| json!({ "from": "2020-01-01", "to": to, "every": "daily" });
    let with = |mut time: serde_json::Value, key: &str, value: &str| {
        time[key] = json!(value);
        time
    };
    let functions = json!({ "values": ["f1", "f2", "f3"], "as": "f" });
    let four_days: &[(&str, &str)] =
        &[("day-01", "01-02"), ("day-02", "01-03"), ("day-03", "01-04"), ("day-04", "01-05")];
    let but_the_second: &[(&str, &str)] = &[("day-01", "01-02"), ("day-03", "01-04"), ("day-04", "01-05")];
    let vectors = [
        Vector {
            name: "A",
            units: json!({ "time": none("2020-01-16") }),
            recorded: &[],
            failed: &[],
            runs: &["01-01..01-16 New"],
        },
        Vector {
            name: "B",
            units: json!({ "time": with(with(none("2020-01-16"), "grace", "3d"), "late", "append") }),
            recorded: &[("day-01", "01-15")],
            failed: &[],
            runs: &["01-12..01-16 Unfinished adds"],
        },
        Vector {
            // DIL: 01-16..01-16, an empty interval. BETTER B17, B18.
            name: "C",
            units: json!({ "time": none("2020-01-16"), "abstinence": "1d" }),
            recorded: &[("day-01", "01-15")],
            failed: &[],
            runs: &["01-15..01-16 Unfinished adds"],
        },
        Vector {
            name: "C2",
            units: json!({ "time": none("2020-01-16"), "abstinence": "2d" }),
            recorded: &[("day-01", "01-15")],
            failed: &[],
            runs: &[],
        },
        // DIL: 01-16..01-16. BETTER B17.
        Vector {
            name: "D",
            units: json!({ "time": none("2020-01-16") }),
            recorded: &[("day-01", "01-16")],
            failed: &[],
            runs: &[],
        },
        // DIL: 01-05..01-05 beside it. BETTER B17.
        Vector {
            name: "E",
            units: json!({ "time": daily("2020-01-06") }),
            recorded: four_days,
            failed: &[],
            runs: &["01-05..01-06 New"],
        },
        Vector {
            // DIL: 01-02 too, which ends at the cut-off and so holds nothing behind it. BETTER B17.
            name: "E2",
            units: json!({ "time": with(daily("2020-01-06"), "grace", "2d") }),
            recorded: four_days,
            failed: &[],
            runs: &["01-03..01-04 Late", "01-04..01-05 Late", "01-05..01-06 New"],
        },
        Vector {
            // DIL never retries 01-02. BETTER B16.
            name: "F",
            units: json!({ "time": daily("2020-01-06") }),
            recorded: but_the_second,
            failed: &["day-02"],
            runs: &["01-02..01-03 FailedBefore", "01-05..01-06 New"],
        },
        Vector {
            name: "F2",
            units: json!({ "time": with(daily("2020-01-06"), "grace", "2d") }),
            recorded: but_the_second,
            failed: &["day-02"],
            runs: &[
                "01-02..01-03 FailedBefore",
                "01-03..01-04 Late",
                "01-04..01-05 Late",
                "01-05..01-06 New",
            ],
        },
        Vector {
            name: "G",
            units: json!({ "time": daily("2020-01-06") }),
            recorded: but_the_second,
            failed: &[],
            runs: &["01-02..01-03 New", "01-05..01-06 New"],
        },
        Vector {
            name: "I",
            units: json!({ "time": daily("2020-01-04"), "each": { "values": ["a", "b"], "as": "f" } }),
            recorded: &[],
            failed: &[],
            runs: &[
                "a 01-01..01-02 New",
                "b 01-01..01-02 New",
                "a 01-02..01-03 New",
                "b 01-02..01-03 New",
                "a 01-03..01-04 New",
                "b 01-03..01-04 New",
            ],
        },
        Vector {
            name: "I2",
            units: json!({ "time": daily("2020-01-04"), "each": { "values": ["a", "b"], "as": "f" }, "max": 4 }),
            recorded: &[],
            failed: &[],
            runs: &["a 01-01..01-02 New", "b 01-01..01-02 New", "a 01-02..01-03 New", "b 01-02..01-03 New"],
        },
        Vector {
            name: "J",
            units: json!({ "time": none("2020-07-01"), "each": functions.clone(), "max": 2, "abstinence": "30d" }),
            recorded: &[],
            failed: &[],
            runs: &["f1 01-01..07-01 New", "f2 01-01..07-01 New"],
        },
        Vector {
            name: "J2",
            units: json!({ "time": none("2020-07-02"), "each": functions.clone(), "max": 2, "abstinence": "30d" }),
            recorded: &[("f1", "07-01"), ("f2", "07-01")],
            failed: &[],
            runs: &["f3 01-01..07-02 New"],
        },
        Vector {
            // DIL takes f1 and f2 again, and f3 starves.
            name: "J3",
            units: json!({ "time": none("2020-07-02"), "each": functions, "max": 2 }),
            recorded: &[("f1", "07-01"), ("f2", "07-01")],
            failed: &[],
            runs: &["f1 07-01..07-02 Unfinished adds", "f3 01-01..07-02 New"],
        },
        Vector {
            name: "Q",
            units: json!({ "time": none("2020-01-10"), "each": { "values": ["f1", "f2"], "as": "f" } }),
            recorded: &[("f1", "01-09")],
            failed: &[],
            runs: &["f1 01-09..01-10 Unfinished adds", "f2 01-01..01-10 New"],
        },
        Vector {
            // DIL prunes its low. BETTER B19.
            name: "O",
            units: json!({ "time": none("2020-01-16"), "snapshot": true }),
            recorded: &[("day-01", "01-15")],
            failed: &[],
            runs: &["01-01..01-16 Snapshot"],
        },
    ];
    for Vector { name, units, recorded, failed, runs: expect } in vectors {
        let units: Units = serde_json::from_value(units).unwrap();
        let now = units.time.as_ref().unwrap().to.clone();
        let signature = |short: &str| match short.strip_prefix("day-") {
            Some(day) => format!("time=2020-01-{day}T00:00:00Z"),
            None => format!("f={short},time=2020-01-01T00:00:00Z"),
        };
        let mut known: Ledger =
            recorded.iter().map(|(unit, high)| (signature(unit), read_at(&format!("2020-{high}")))).collect();
        for unit in failed {
            known.insert(signature(unit), History { failed: true, owing: true, ..History::default() });
        }
        assert_eq!(runs(&plan(&units, &now, &known)), expect, "example {name}");
    }
}

#[test]
fn the_composite_example_of_dil() {
    // DIL's example N: monthly, grace, a month that failed, months that were never tried, one that grows.
    let units = time(json!({ "from": "2019-10-01", "to": "2020-02-22", "every": "month", "grace": "3d" }));
    let failed = History { failed: true, owing: true, ..History::default() };
    let known = ledger(&[
        ("time=2019-10-01T00:00:00Z", failed),
        ("time=2019-11-01T00:00:00Z", done("2019-12-01")),
        ("time=2020-01-01T00:00:00Z", done("2020-02-01")),
        ("time=2020-02-01T00:00:00Z", done("2020-02-21")),
    ]);
    // DIL leaves the failed month out (BETTER B16), and reads of February what lies behind 02-18: here all of it, whose files
    // are exchanged, so that no row is there twice.
    let expect = ["10-01..11-01 FailedBefore", "12-01..01-01 New", "02-01..02-22 Unfinished"];
    assert_eq!(runs(&plan(&units, "2020-02-22", &known)), expect);
}
