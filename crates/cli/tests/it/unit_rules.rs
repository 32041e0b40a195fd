//! Which units run, as users steer it: choices, backfills, watermarks by hand, versions, abstinence, bounds.

use std::time::{Duration, Instant};

use dil_testkit::oracle::{Fault, FaultKind};
use serde_json::Value;

use crate::lake;
use crate::scene::Scene;

fn units(scene: &Scene, options: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["units", "two_stage", "--stage", "events", "--format", "json"];
    arguments.extend(options);
    let listed = scene.dil().run(&arguments).succeeded();
    serde_json::from_str(&listed.stdout).expect("a list of units")
}

/// The flow with more settings of `units.time` and of `units`.
fn with_units(flow: &str, time: &str, more: &str) -> String {
    flow.replace("every: month }", &format!("every: month{time} }}\n      {more}"))
}

fn names(units: &[Value]) -> Vec<&str> {
    units.iter().map(|unit| unit["signature"].as_str().expect("a name")).collect()
}

#[test]
fn a_choice_runs_those_units_and_later_runs_the_rest() {
    let scene = Scene::small();
    scene.run("2024-03-01", &["--only", "events[id=1, time=2024-02-10]"]).succeeded();
    assert_eq!(names(&units(&scene, &["--status", "done"])), ["id=1,time=2024-02-01T00:00:00Z"]);
    scene.run("2024-03-01", &["--only", "sites"]).succeeded();
    assert_eq!(units(&scene, &["--status", "done"]).len(), 1);
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn only_what_failed_is_tried_again_if_that_is_asked_for() {
    let scene = Scene::small();
    scene.oracle.fault(Fault {
        matching: "sites/2/events".into(),
        after: 0,
        times: u64::MAX,
        kind: FaultKind::Status(404),
    });
    assert_eq!(scene.run("2024-02-01", &[]).code, Some(1));
    let failed = units(&scene, &["--error", "404", "--value", "id=2"]);
    assert_eq!(names(&failed), ["id=2,time=2024-01-01T00:00:00Z"]);
    assert_eq!(units(&scene, &["--error", "no such text"]).len(), 0);
    scene.oracle.heal();
    // The range has grown by a month, which is not asked for.
    scene.run("2024-03-01", &["--retry-failed"]).succeeded();
    assert_eq!(units(&scene, &["--status", "done"]).len(), 2);
    scene.assert_exactly_once("2024-02-01");
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_backfill_reads_again_beside_the_watermarks() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    let before = units(&scene, &[]);
    scene.oracle.add_events(1, "2024-01-01", "2024-02-01", 3);
    let january = ["--backfill", "repair", "--to", "2024-02-01"];
    scene.run("2024-03-01", &january).succeeded();
    scene.assert_exactly_once("2024-03-01");
    let entries = units(&scene, &["--backfill", "repair"]);
    assert_eq!(names(&entries), ["id=1,time=2024-01-01T00:00:00Z", "id=2,time=2024-01-01T00:00:00Z"]);
    let normal = units(&scene, &["--backfill", ""]);
    assert_eq!(
        normal.iter().map(|unit| &unit["updated"]).collect::<Vec<_>>(),
        before.iter().map(|unit| &unit["updated"]).collect::<Vec<_>>(),
        "the normal entries stay as they are"
    );
    // What the backfill has done, it does not do again; under another name it does.
    let rows = |options: &[&str]| scene.run("2024-03-01", options).succeeded().stdout;
    assert!(rows(&january).contains("2 units skipped: already done"), "the backfill is done");
    assert!(!rows(&["--backfill", "again", "--to", "2024-02-01"]).contains("already done"));
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_backfill_of_a_month_that_has_not_ended_doubles_nothing() {
    let scene = Scene::small();
    scene.run("2024-02-10", &[]).succeeded();
    for to in ["2024-02-12", "2024-02-20"] {
        scene.run(to, &["--backfill", "repair"]).succeeded();
        assert_eq!(
            lake::ids(&scene.lake()),
            scene.oracle.ids_between("2024-01-01", "2024-02-10"),
            "up to {to}"
        );
    }
    scene.run("2024-02-20", &[]).succeeded();
    scene.assert_exactly_once("2024-02-20");
    scene.run("2024-02-20", &["--backfill", "repair"]).succeeded();
    scene.assert_exactly_once("2024-02-20");
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_backfill_that_would_cut_other_units_is_refused() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    let refused = scene.run("2024-03-01", &["--backfill", "repair", "--from", "2024-01-15"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused.stdout.contains("run/backfill-division") || refused.stderr.contains("run/backfill-division")
    );
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn watermarks_move_by_hand_and_no_row_comes_twice() {
    let scene = Scene::small();
    let state = |arguments: &[&str]| {
        let mut all = vec!["state"];
        all.extend(arguments);
        scene.dil().run(&all)
    };
    scene.run("2024-03-01", &[]).succeeded();
    let to = ["--var", "to=2024-03-01"];
    let back = ["set-watermark", "flow.yaml", "events", "2024-01-20", to[0], to[1]];
    let told = state(&[&back[..], &["--dry-run"]].concat()).succeeded();
    assert!(told.stdout.contains("forget 4 units; nothing was changed"), "{told}");
    let changed = state(&[&back[..], &["--yes"]].concat()).succeeded();
    assert!(changed.stdout.contains("before") && changed.stdout.contains("after"), "{changed}");
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");

    // Forward: January counts as read without being read.
    let other = Scene::small();
    other.run("2024-01-01T00:00:01", &["--only", "sites"]).succeeded();
    let forward = ["state", "set-watermark", "flow.yaml", "events", "2024-02-01", to[0], to[1], "--yes"];
    let moved = other.dil().run(&forward).succeeded();
    assert!(moved.stdout.contains("record: 2 units as read"), "{moved}");
    other.run("2024-03-01", &[]).succeeded();
    assert_eq!(lake::ids(&other.lake()), other.oracle.ids_between("2024-02-01", "2024-03-01"));
}

#[test]
fn forgotten_units_are_read_again_and_replace_their_files() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    let forget = |options: &[&str]| {
        let mut arguments =
            vec!["state", "forget", "two_stage", "--value", "id=2", "--time", "2024-02-01..2024-03-01"];
        arguments.extend(options);
        scene.dil().run(&arguments)
    };
    assert!(forget(&["--dry-run"]).succeeded().stdout.contains("would forget 1 unit; nothing was changed"));
    assert_eq!(forget(&[]).code, Some(2), "nobody says yes");
    forget(&["--yes"]).succeeded();
    let told = scene.run("2024-03-01", &[]).succeeded();
    assert!(told.stdout.contains("3 units skipped: already done"), "{told}");
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn fewer_units_than_there_must_be_fail_the_stage() {
    let scene = Scene::small();
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow");
    scene.write("flow.yaml", &with_units(&text, "", "min: 5"));
    let refused = scene.run("2024-03-01", &[]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(format!("{refused}").contains("has 4 units to run, and must have 5 at least"), "{refused}");
    assert_eq!(lake::visible(&scene.lake()).len(), 0);
}

#[test]
fn a_unit_with_too_few_rows_fails_and_publishes_nothing() {
    let scene = Scene::small();
    let site = scene.oracle.add_site("active");
    scene.oracle.add_events(site, "2024-01-01", "2024-02-01", 2);
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow");
    scene.write("flow.yaml", &with_units(&text, "", "min_rows: 3"));
    let failed = scene.run("2024-02-01", &[]);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(format!("{failed}").contains("the unit gave 2 rows, and must give 3 at least"), "{failed}");
    assert_eq!(units(&scene, &["--status", "done"]).len(), 2);
    assert_eq!(lake::ids(&scene.lake()).len(), 10);
}

#[test]
fn units_start_no_faster_than_their_pace() {
    let scene = Scene::small();
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow");
    scene.write("flow.yaml", &with_units(&text, "", "pace: 300ms"));
    let start = Instant::now();
    scene.run("2024-03-01", &[]).succeeded();
    // Four units: the last one starts three paces after the first, on any machine.
    assert!(start.elapsed() >= Duration::from_millis(900));
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn two_values_a_partial_last_month_and_max_reached_lose_nothing() {
    let scene = Scene::small();
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow");
    scene.write("flow.yaml", &with_units(&text, "", "max: 2"));
    for to in ["2024-02-10", "2024-02-10", "2024-02-12", "2024-03-01", "2024-03-01", "2024-03-01"] {
        scene.run(to, &[]).succeeded();
        let ids = lake::ids(&scene.lake());
        let distinct: std::collections::BTreeSet<u64> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "no row is there twice");
    }
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_plan_may_ask_the_stages_before_and_leaves_no_trace() {
    let scene = Scene::small();
    let plan = |options: &[&str]| {
        let mut arguments = vec!["plan", "flow.yaml", "--var", "to=2024-03-01", "--json"];
        arguments.extend(options);
        let told = scene.dil().run(&arguments).succeeded();
        serde_json::from_str::<Value>(&told.stdout).expect("a plan")["stages"][1].clone()
    };
    assert_eq!(plan(&[])["values_known"], false);
    assert_eq!(plan(&["--with-upstream"])["units_total"], 4);
    assert!(!scene.path(".dil").exists(), "nothing was recorded");
    scene.run("2024-03-01", &[]).succeeded();
    let site = scene.oracle.add_site("active");
    scene.oracle.add_events(site, "2024-01-01", "2024-03-01", 4);
    assert_eq!(plan(&[])["units_total"], 0);
    assert_eq!(plan(&["--with-upstream"])["units_total"], 2);
    // The ledger goes on as if nothing had been asked.
    assert_eq!(plan(&[])["units_total"], 0);
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_plan_with_upstream_does_not_touch_what_a_killed_run_staged() {
    let scene = Scene::small();
    let killed = scene
        .dil()
        .env("DIL_FAULT", "publication.prepare:after:2")
        .run(&crate::scene::run_arguments("2024-03-01", &[]));
    assert!(killed.was_killed(), "{killed}");
    let before = (lake::visible(&scene.lake()), lake::staged(scene.folder()));
    assert!(!before.1.is_empty(), "something is staged");
    scene.dil().run(&["plan", "flow.yaml", "--var", "to=2024-03-01", "--with-upstream"]).succeeded();
    assert_eq!((lake::visible(&scene.lake()), lake::staged(scene.folder())), before);
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

/// Files by name with a version: each is read once, and again when its size changes.
const FILES: &str = "flow: files
stages:
  listing:
    read: { files: { path: list.ndjson }, format: ndjson }
  rows:
    units: { each: { rows_of: listing, fields: [name], version: [size] } }
    read: { files: { path: 'in/{{ name }}.ndjson' }, format: ndjson }
    write: { files: { path: lake, format: parquet } }
";

#[test]
fn a_file_is_read_again_when_its_version_changes_and_else_not() {
    let scene = Scene::new();
    scene.write("files.yaml", FILES);
    std::fs::create_dir(scene.path("in")).expect("a folder");
    let files = |given: &[(&str, &[u32])]| {
        let mut list = String::new();
        for (name, ids) in given {
            let text: String = ids.iter().map(|id| format!("{{\"id\":{id}}}\n")).collect();
            scene.write(&format!("in/{name}.ndjson"), &text);
            list.push_str(&format!("{{\"name\":\"{name}\",\"size\":{}}}\n", text.len()));
        }
        scene.write("list.ndjson", &list);
        scene.dil().run(&["run", "files.yaml"]).succeeded().stdout
    };
    files(&[("a", &[1, 2]), ("b", &[3])]);
    assert!(files(&[("a", &[1, 2]), ("b", &[3])]).contains("2 units skipped: already done"));
    let told = files(&[("a", &[1, 2, 9]), ("b", &[3]), ("c", &[4])]);
    assert!(told.contains("1 unit skipped: already done"), "{told}");
    assert_eq!(lake::ids(&scene.lake()), [1, 2, 3, 4, 9]);
}

#[test]
fn a_unit_read_lately_is_left_alone_for_so_long() {
    let scene = Scene::small();
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow");
    scene.write("flow.yaml", &with_units(&text, ", grace: 60d", "abstinence: 1d"));
    scene.run("2024-03-01", &[]).succeeded();
    scene.oracle.forget();
    let told = scene.run("2024-03-01", &[]).succeeded();
    assert!(told.stdout.contains("4 units skipped: read lately, left alone"), "{told}");
    assert!(scene.oracle.ledger().iter().all(|served| !served.path.contains("/events")));
}

/// A file to which rows are appended; only new ones are published.
const APPENDED: &str = "flow: appended
stages:
  rows:
    units: { key: { field: id } }
    read: { files: { path: in.ndjson }, format: ndjson }
    write: { files: { path: lake, format: parquet } }
";

#[test]
fn rows_with_greater_keys_are_added_and_others_left_out() {
    for options in [&[][..], &["--workers", "1"]] {
        let scene = Scene::new();
        scene.write("appended.yaml", APPENDED);
        let run = |ids: &[u32]| {
            let text: String = ids.iter().map(|id| format!("{{\"id\":{id}}}\n")).collect();
            scene.write("in.ndjson", &text);
            scene.dil().run(&[&["run", "appended.yaml"], options].concat())
        };
        run(&[]).succeeded();
        run(&[3, 1, 2]).succeeded();
        run(&[3, 1, 2]).succeeded();
        run(&[3, 1, 2, 7, 5]).succeeded();
        // What comes late with a smaller key is not new: keys must grow.
        run(&[4, 8]).succeeded();
        assert_eq!(lake::ids(&scene.lake()), [1, 2, 3, 5, 7, 8]);
        let listed = scene.dil().run(&["units", "appended", "--format", "json"]).succeeded();
        let units: Vec<Value> = serde_json::from_str(&listed.stdout).expect("a list of units");
        assert_eq!(units[0]["recorded_key"], "8");
        let plan = scene.dil().run(&["plan", "appended.yaml"]).succeeded();
        assert!(plan.stdout.contains("read on from the greatest key"), "{plan}");
    }
}

#[test]
fn a_key_that_cannot_be_one_is_refused() {
    for (rows, told) in [
        ("{\"id\":1}\n{\"id\":null}\n", "the key `id` is null in a row"),
        ("{\"id\":1.5}\n", "the key `id` is of type Float64"),
        ("{\"other\":1}\n", "the key `id` is missing in the rows"),
    ] {
        let scene = Scene::new();
        scene.write("appended.yaml", APPENDED);
        scene.write("in.ndjson", rows);
        let refused = scene.dil().run(&["run", "appended.yaml"]);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(format!("{refused}").contains(told), "{refused}");
        assert!(lake::visible(&scene.lake()).is_empty());
    }
}

#[test]
fn texts_and_instants_are_keys_too() {
    let scene = Scene::new();
    for (field, values) in [
        ("name", ["\"b\"", "\"a\"", "\"c\""]),
        ("at", ["\"2024-01-02T00:00:00Z\"", "\"2024-01-01T00:00:00+02:00\"", "\"2024-01-03T00:00:00.5Z\""]),
    ] {
        let columns = if field == "at" { ", columns: { at: timestamp }" } else { "" };
        let flow = APPENDED
            .replace("field: id", &format!("field: {field}"))
            .replace("flow: appended", &format!("flow: {field}"))
            .replace("format: ndjson }", &format!("format: ndjson{columns} }}"))
            .replace("format: ndjson\n", &format!("format: ndjson{columns}\n"))
            .replace("path: lake", &format!("path: lake-{field}"));
        scene.write("keys.yaml", &flow);
        let run = |count: usize| {
            let rows = values[..count].iter().enumerate();
            let text: String =
                rows.map(|(id, value)| format!("{{\"id\":{id},\"{field}\":{value}}}\n")).collect();
            scene.write("in.ndjson", &text);
            scene.dil().run(&["run", "keys.yaml"]).succeeded();
        };
        run(2);
        run(3);
        run(3);
        assert_eq!(lake::ids(&scene.path(&format!("lake-{field}"))), [0, 1, 2], "{field}");
    }
}

#[test]
fn a_range_of_keys_is_read_in_stretches_and_grows() {
    let scene = Scene::new();
    scene.write(
        "keys.yaml",
        "flow: keys
vars: { to: 0 }
stages:
  rows:
    units: { key: { from: 1, to: '${to}', every: 2 } }
    read: { files: { path: 'in/{{ low }}-{{ high }}.ndjson' }, format: ndjson }
    write: { files: { path: lake, format: parquet } }
",
    );
    std::fs::create_dir(scene.path("in")).expect("a folder");
    let stretch = |low: u32, high: u32| {
        let text: String = (low..high).map(|id| format!("{{\"id\":{id}}}\n")).collect();
        scene.write(&format!("in/{low}-{high}.ndjson"), &text);
    };
    for (low, high) in [(1, 3), (3, 4), (4, 5), (5, 6)] {
        stretch(low, high);
    }
    scene.dil().run(&["run", "keys.yaml", "--var", "to=4"]).succeeded();
    scene.dil().run(&["run", "keys.yaml", "--var", "to=6"]).succeeded();
    assert_eq!(lake::ids(&scene.lake()), [1, 2, 3, 4, 5]);
}
