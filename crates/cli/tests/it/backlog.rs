//! What was planned is not forgotten: units beyond `max`, failed ones, and ones whose row is listed only once.

use dil_testkit::oracle::{Fault, FaultKind};

use crate::lake;
use crate::scene::{Scene, TwoStage};

/// Values that come from files, each read once: a list that is divided by days gives its rows in one run only.
const LISTED_ONCE: &str = "flow: once
connections:
  api: { http: { base: '${url}', retry: { wait: 10ms..50ms, attempts: 1 } } }
stages:
  sites:
    units: { time: { from: 2024-01-01, to: '${to}', every: day } }
    read: { files: { path: \"list/{{ low | date }}.csv\" }, format: csv }
  events:
    units:
      each: { rows_of: sites, fields: [id] }
      max: ${max}
    read:
      http:
        connection: api
        path: '/cursor/sites/{{ id }}/events'
        query: { from: '2024-01-01T00:00:00Z', to: '2024-03-01T00:00:00Z', limit: 3 }
        paginate: { cursor: { body: meta.next_cursor, param: cursor } }
      format: json
      rows_at: data.items
    write: { files: { path: lake, format: parquet } }
    retry: { wait: 10ms..50ms, attempts: 1 }
";

/// Sites 1 and 2 are on the list of the first day, site 3 on that of the second.
fn listed_once() -> Scene {
    let scene = Scene::small();
    let site = scene.oracle.add_site("active");
    scene.oracle.add_events(site, "2024-01-01", "2024-03-01", 4);
    std::fs::create_dir(scene.path("list")).expect("a folder");
    scene.write("list/2024-01-01.csv", "id\n1\n2\n");
    scene.write("list/2024-01-02.csv", "id\n3\n");
    scene.write("once.yaml", LISTED_ONCE);
    scene
}

fn run(scene: &Scene, to: &str, max: &str, options: &[&str]) -> dil_testkit::process::Finished {
    let url = format!("url={}", scene.oracle.url());
    let (to, max) = (format!("to={to}"), format!("max={max}"));
    let mut arguments = vec!["run", "once.yaml", "--var", &url, "--var", &to, "--var", &max];
    arguments.extend(options);
    scene.dil().run(&arguments)
}

fn fail_site(scene: &Scene, site: u64) {
    let matching = format!("sites/{site}/events");
    scene.oracle.fault(Fault { matching, after: 0, times: u64::MAX, kind: FaultKind::Status(404) });
}

#[test]
fn a_failed_unit_is_tried_again_although_its_row_is_not_listed_again() {
    let scene = listed_once();
    fail_site(&scene, 2);
    assert_eq!(run(&scene, "2024-01-03", "9", &[]).code, Some(1));
    scene.oracle.heal();
    run(&scene, "2024-01-03", "9", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn units_beyond_max_are_taken_by_later_runs() {
    let scene = listed_once();
    for _ in 0..3 {
        run(&scene, "2024-01-03", "1", &[]).succeeded();
    }
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn rows_of_a_stage_that_failed_in_part_reach_the_next_one_later() {
    let scene = listed_once();
    std::fs::rename(scene.path("list/2024-01-02.csv"), scene.path("later.csv")).expect("it is there");
    assert_eq!(run(&scene, "2024-01-03", "9", &[]).code, Some(1), "the second day has no list");
    assert_eq!(lake::ids(&scene.lake()), [] as [u64; 0]);
    std::fs::rename(scene.path("later.csv"), scene.path("list/2024-01-02.csv")).expect("it is there");
    run(&scene, "2024-01-03", "9", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_fresh_run_keeps_what_an_abandoned_one_listed() {
    let scene = listed_once();
    let url = format!("url={}", scene.oracle.url());
    let arguments = ["run", "once.yaml", "--var", &url, "--var", "to=2024-01-03", "--var", "max=9"];
    let killed = scene.dil().env("DIL_FAULT", "stage.end:after:1").run(&arguments);
    assert_eq!(killed.code, None, "{killed}");
    run(&scene, "2024-01-03", "9", &["--fresh"]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_value_that_left_the_list_is_only_asked_for_what_it_owes() {
    let scene = Scene::small();
    fail_site(&scene, 2);
    assert_eq!(scene.run("2024-02-01", &[]).code, Some(1));
    scene.oracle.heal();
    scene.oracle.close_site(2);
    scene.oracle.forget();
    scene.run("2024-03-01", &[]).succeeded();
    let asked = scene.oracle.ledger();
    let of_site_2 = asked.iter().filter(|served| served.path.ends_with("sites/2/events"));
    let first_pages = of_site_2.filter(|served| !served.query.contains("cursor="));
    assert_eq!(first_pages.count(), 1, "January was planned before, February was not");
}

#[test]
fn another_division_is_refused_before_everything_is_read_twice() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow is there");
    scene.write("flow.yaml", &text.replace("every: month", "every: day"));
    let refused = scene.run("2024-03-01", &[]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("state/division-changed"), "{refused}");
    scene.assert_exactly_once("2024-03-01");

    scene.write("flow.yaml", &text.replace("from: 2024-01-01", "from: 2023-12-01"));
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn what_a_failed_unit_asked_for_does_not_bind_the_others() {
    let scene = Scene::small();
    scene.write_flow(&TwoStage { more: "parallel: 1", ..TwoStage::default() });
    let text = serde_json::json!({ "extra": "a text" });
    let number = serde_json::json!({ "extra": 5 });
    scene.oracle.add_event(1, "2024-01-20T12:00:00Z", text);
    scene.oracle.add_event(2, "2024-01-21T12:00:00Z", number);
    // Site 1 breaks off behind its first page of three rows, after its schema was agreed on.
    let matching = "sites/1/events".to_owned();
    scene.oracle.fault(Fault { matching, after: 1, times: u64::MAX, kind: FaultKind::Status(404) });
    assert_eq!(scene.run("2024-02-01", &[]).code, Some(1));
    let shown = scene.dil().run(&["state", "show", "two_stage", "--format", "json"]).succeeded().stdout;
    let stages: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
    let columns = stages
        .as_array()
        .and_then(|stages| stages.iter().find(|stage| stage["stage"] == "events"))
        .map(|stage| stage["columns"].to_string());
    assert!(columns.is_some_and(|columns| columns.contains(r#"["extra","int64"]"#)), "{shown}");
}

/// Every page ends with a checkpoint.
const CHECKPOINTS: &str = "format: parquet, file_size: 1B";

fn first_asked(scene: &Scene, path: &str) -> Option<String> {
    let ledger = scene.oracle.ledger();
    ledger.iter().find(|served| served.path.ends_with(path)).map(|served| served.query.clone())
}

#[test]
fn a_position_is_not_used_by_the_next_run() {
    let scene = Scene::small();
    scene.write_flow(&TwoStage { files: CHECKPOINTS, ..TwoStage::default() });
    let matching = "sites/2/events".to_owned();
    scene.oracle.fault(Fault { matching, after: 1, times: u64::MAX, kind: FaultKind::Status(404) });
    assert_eq!(scene.run("2024-02-01", &[]).code, Some(1));
    scene.oracle.heal();
    scene.oracle.forget();
    scene.run("2024-02-01", &[]).succeeded();
    let asked = first_asked(&scene, "sites/2/events").expect("it is read again");
    assert!(!asked.contains("cursor="), "the cursor may be stale by now: {asked}");
    scene.assert_exactly_once("2024-02-01");
}

#[test]
fn a_unit_whose_position_is_refused_begins_at_its_start() {
    let scene = Scene::small();
    scene.write_flow(&TwoStage { files: CHECKPOINTS, more: "parallel: 1", ..TwoStage::default() });
    let arguments = crate::scene::run_arguments("2024-02-01", &[]);
    let killed = scene.dil().env("DIL_FAULT", "unit.checkpoint:after:1").run(&arguments);
    assert_eq!(killed.code, None, "{killed}");
    scene.oracle.forget();
    // The first request with a cursor is the one that goes on from the checkpoint.
    let matching = "cursor=".to_owned();
    scene.oracle.fault(Fault { matching, after: 0, times: 1, kind: FaultKind::Status(410) });
    scene.run("2024-02-01", &[]).succeeded();
    scene.assert_exactly_once("2024-02-01");
}
