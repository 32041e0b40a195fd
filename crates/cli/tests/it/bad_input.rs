//! Everything that can be wrong with what comes in: a clear error, a non-zero exit, nothing half-published, nothing lost.

use std::path::PathBuf;
use std::time::Duration;

use dil_testkit::oracle::{Fault, FaultKind, Settings};
use dil_testkit::process::Finished;

use crate::lake;
use crate::scene::{Scene, TwoStage, UNDIVIDED, wait_until};

/// Fails the test unless the run failed and said all of `told`, a remedy among them.
#[track_caller]
fn assert_refused(finished: &Finished, told: &[&str]) {
    assert!(finished.code.is_some_and(|code| code != 0), "it should have failed\n{finished}");
    assert!(!finished.stderr.contains("panicked"), "{finished}");
    for text in told {
        assert!(finished.stderr.contains(text), "stderr should tell `{text}`\n{finished}");
    }
    // Each error is a paragraph of its own, and each has a remedy of its own.
    let mut errors = finished.stderr.split("\n\n").filter(|paragraph| paragraph.contains("error["));
    assert!(errors.all(|error| error.contains("hint:")), "an error without a remedy\n{finished}");
}

#[track_caller]
fn assert_nothing_published(scene: &Scene) {
    assert_eq!(lake::visible(&scene.lake()), Vec::<PathBuf>::new());
}

/// Runs against a fault that never ends, expects `told`; then heals, runs again, and expects every row once.
#[track_caller]
fn check_fault(kind: FaultKind, told: &[&str]) {
    let scene = Scene::small();
    scene.oracle.fault(Fault { matching: "sites/2/events".to_owned(), after: 1, times: u64::MAX, kind });
    let finished = scene.run("2024-03-01", &[]);
    assert_refused(&finished, told);
    let ids = lake::ids(&scene.lake());
    let of_site_1: Vec<u64> = (1..=10).collect();
    let healthy: Vec<u64> = ids.iter().copied().filter(|id| of_site_1.contains(id)).collect();
    assert_eq!(healthy, of_site_1, "a bad unit does not stop the others");
    scene.oracle.heal();
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_wrong_flow_file_names_line_and_nearest_key() {
    let scene = Scene::small();
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow is there");
    scene.write(
        "flow.yaml",
        &text.replace("rows_at: data.items\n    convert", "rows_att: data.items\n    convert"),
    );
    let finished = scene.run("2024-03-01", &[]);
    assert_eq!(finished.code, Some(2), "{finished}");
    assert_refused(&finished, &["flow.yaml:", "rows_att", "rows_at"]);
    assert_nothing_published(&scene);
    assert!(scene.oracle.ledger().is_empty(), "nothing is asked before the flow is right");
}

#[test]
fn a_flow_file_that_is_not_there_is_named() {
    let scene = Scene::new();
    let finished = scene.run("2024-03-01", &[]);
    assert!(finished.code.is_some_and(|code| code != 0), "{finished}");
    assert!(finished.stderr.contains("flow.yaml"), "{finished}");
}

#[test]
fn an_unreachable_host_is_named() {
    let scene = Scene::small();
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow is there");
    // Port 1 of loopback: nobody listens there, and the answer comes at once.
    scene.write("flow.yaml", &text.replace(&scene.oracle.url(), "http://127.0.0.1:1"));
    assert_refused(&scene.run("2024-03-01", &[]), &["127.0.0.1"]);
    assert_nothing_published(&scene);
}

#[test]
fn a_wrong_token_is_told_and_not_shown() {
    let scene = Scene::with(Settings { token: Some("right".to_owned()), ..Settings::default() });
    scene.populate();
    scene.write_flow(&TwoStage::default());
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow is there");
    let with_token = text.replace(
        "retry: { wait: 10ms..50ms, attempts: 3 }",
        "auth: { bearer: { token: '${secret:TOKEN}' } }",
    );
    scene.write("flow.yaml", &with_token);
    let program = scene.dil().env("DIL_SECRET_TOKEN", "not-the-token-9b1c");
    let finished = program.run(&["run", "flow.yaml", "--var", "to=2024-03-01"]);
    assert_refused(&finished, &["401"]);
    assert!(
        !finished.stderr.contains("9b1c") && !finished.stdout.contains("9b1c"),
        "the secret is shown\n{finished}"
    );
    assert_nothing_published(&scene);
    let again = scene.oracle.ledger().len();
    assert_eq!(again, 1, "a refused token is not tried again");

    scene
        .dil()
        .env("DIL_SECRET_TOKEN", "right")
        .run(&["run", "flow.yaml", "--var", "to=2024-03-01"])
        .succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_missing_secret_tells_where_it_was_looked_for() {
    let scene = Scene::small();
    let text = std::fs::read_to_string(scene.path("flow.yaml")).expect("the flow is there");
    let with_token = text.replace(
        "retry: { wait: 10ms..50ms, attempts: 3 }",
        "auth: { bearer: { token: '${secret:ABSENT}' } }",
    );
    scene.write("flow.yaml", &with_token);
    assert_refused(&scene.run("2024-03-01", &[]), &["ABSENT", "DIL_SECRET_ABSENT"]);
}

#[test]
fn html_instead_of_json_is_told() {
    check_fault(FaultKind::Html, &["text/html"]);
}

#[test]
fn a_body_cut_short_is_not_a_short_result() {
    check_fault(FaultKind::Cut, &["id=2", "cut short", "sites/2/events"]);
}

#[test]
fn a_page_without_the_rows_path_is_no_empty_page() {
    check_fault(FaultKind::NoRows, &["data.items"]);
}

#[test]
fn json_that_breaks_inside_is_told() {
    check_fault(FaultKind::Garbage, &["id=2", "page 2", "oops"]);
}

#[test]
fn a_server_that_keeps_failing_is_told() {
    check_fault(FaultKind::Status(503), &["503"]);
}

#[test]
fn a_page_that_is_gone_is_told() {
    check_fault(FaultKind::Status(404), &["404"]);
}

#[test]
fn failures_that_pass_are_read_over() {
    let scene = Scene::small();
    for kind in [FaultKind::Status(503), FaultKind::Cut, FaultKind::RetryAfter(0)] {
        scene.oracle.fault(Fault { matching: "/events".to_owned(), after: 2, times: 1, kind });
    }
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

const CSV_FLOW: &str = "flow: from_files
stages:
  rows:
    read: { files: { path: 'in/*.csv' }, format: csv }
    write: { files: { path: lake, format: parquet } }
";

#[test]
fn a_broken_quote_names_file_and_line() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("in")).expect("a folder");
    scene.write("in/a.csv", "id,name\n1,fine\n2,\"open\n3,lost\n");
    scene.write("flow.yaml", CSV_FLOW);
    assert_refused(&scene.dil().run(&["run", "flow.yaml"]), &["a.csv", "quote"]);
    assert_nothing_published(&scene);
    scene.write("in/a.csv", "id,name\n1,fine\n2,\"closed\"\n3,found\n");
    scene.dil().run(&["run", "flow.yaml"]).succeeded();
    assert_eq!(lake::ids(&scene.lake()), [1, 2, 3]);
}

#[test]
fn a_csv_line_with_too_many_fields_names_file_and_line() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("in")).expect("a folder");
    scene.write("in/a.csv", "id,name\n1,fine\n2,too,many\n");
    scene.write("flow.yaml", CSV_FLOW);
    assert_refused(&scene.dil().run(&["run", "flow.yaml"]), &["a.csv", "line 3"]);
    assert_nothing_published(&scene);
}

#[test]
fn no_file_is_not_an_empty_file() {
    let scene = Scene::new();
    scene.write("flow.yaml", CSV_FLOW);
    assert_refused(&scene.dil().run(&["run", "flow.yaml"]), &["in/*.csv"]);
}

#[test]
fn a_target_that_cannot_be_written_is_named() {
    let scene = Scene::small();
    // A file where the folder should be: refused to everyone, root included.
    scene.write("lake", "in the way");
    assert_refused(&scene.run("2024-03-01", &[]), &["lake"]);
    std::fs::remove_file(scene.lake()).expect("the file goes away");
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_corrupt_ledger_is_refused_and_left_alone() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    let ledger = std::fs::read_dir(scene.path(".dil"))
        .expect("the state folder is there")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "sqlite"))
        .expect("the ledger is there");
    for extension in ["sqlite-wal", "sqlite-shm"] {
        let _ = std::fs::remove_file(ledger.with_extension(extension));
    }
    let nonsense = "this is no database ".repeat(500);
    std::fs::write(&ledger, &nonsense).expect("the ledger can be overwritten");
    let before = lake::visible(&scene.lake());
    let refused = scene.run("2024-03-01", &[]);
    assert_eq!(refused.code, Some(4), "{refused}");
    assert_refused(&refused, &["ledger"]);
    assert_eq!(std::fs::read_to_string(&ledger).expect("it is still there"), nonsense);
    assert_eq!(lake::visible(&scene.lake()), before);
}

#[test]
fn a_state_folder_that_cannot_be_made_is_named() {
    let scene = Scene::small();
    scene.write("state", "in the way");
    assert_refused(&scene.run("2024-03-01", &["--state", "state"]), &["state"]);
    assert_nothing_published(&scene);
}

#[test]
fn a_second_run_at_the_same_time_is_refused() {
    let scene = Scene::small();
    scene.oracle.fault(Fault {
        matching: "/single/sites".to_owned(),
        after: 0,
        times: 1,
        kind: FaultKind::DelayMs(600_000),
    });
    let first = scene.start("2024-03-01", &[]);
    // Its first request tells that it holds the lease.
    wait_until("the first run has asked for the sites", || scene.oracle.asked() == 1);
    let refused = scene.start("2024-03-01", &[]).wait_within(Duration::from_secs(60));
    assert_eq!(refused.code, Some(3), "{refused}");
    assert_refused(&refused, &["two_stage", &first.id().to_string()]);
    drop(first);
    scene.oracle.heal();
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_file_of_somebody_else_is_not_replaced() {
    let scene = Scene::small();
    let more = "    publish: all_units";
    let files = "format: parquet, mode: replace";
    scene.write_flow(&TwoStage { files, more, request: UNDIVIDED, undivided: true, ..TwoStage::default() });
    std::fs::create_dir(scene.lake()).expect("a folder");
    scene.write("lake/precious.parquet", "somebody's");
    assert_refused(&scene.run("2024-03-01", &[]), &["precious.parquet"]);
    assert_eq!(lake::visible(&scene.lake()), [scene.path("lake/precious.parquet")]);
}

#[test]
fn nothing_of_all_units_shows_unless_every_unit_succeeded() {
    let scene = Scene::small();
    scene.write_flow(&TwoStage { more: "    publish: all_units", ..TwoStage::default() });
    let kind = FaultKind::Status(404);
    scene.oracle.fault(Fault { matching: "sites/2/events".to_owned(), after: 2, times: u64::MAX, kind });
    assert_refused(&scene.run("2024-03-01", &[]), &["404"]);
    assert_nothing_published(&scene);
    scene.oracle.heal();
    scene.oracle.forget();
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
    let again = scene.oracle.ledger().iter().filter(|served| served.path.contains("sites/1/events")).count();
    assert_eq!(again, 0, "units that were done waited, staged");
}
