//! `dil demo` checks itself; here it is run as a user would.

use std::path::Path;

use dil_testkit::process::{Program, Signal};

use crate::lake;
use crate::scene::{DIL, wait_until};

fn dil(folder: &Path) -> Program {
    Program::new(DIL, folder)
}

#[test]
fn runs_twice_and_asks_only_for_what_is_new() {
    let folder = tempfile::tempdir().expect("a folder");
    // The second demonstration begins from nothing again.
    for _ in 0..2 {
        let shown = dil(folder.path()).run(&["demo"]).succeeded();
        for told in [
            "demo/observations holds 17,408 rows in 24 Parquet files",
            "demo/observations holds 26,115 rows in 36 Parquet files",
            "22 units skipped",
            "Try next",
        ] {
            assert!(shown.stdout.contains(told), "`{told}`\n{shown}");
        }
        let asked: Vec<String> = shown
            .stdout
            .lines()
            .filter(|line| line.contains(" observations ") && line.contains("2013-"))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            asked,
            [
                "EWR observations 2013-01 … 2013-12 24 8,702 2013-12 2 719",
                "JFK observations 2013-01 … 2013-12 24 8,706 2013-12 2 720",
                "LGA observations – – – 2013-01 … 2013-12 24 8,706",
            ]
        );
        let demo = folder.path().join("demo");
        assert_eq!(lake::visible(&demo.join("observations")).len(), 36);
        assert_eq!(lake::staged(&demo), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn refuses_a_folder_that_it_did_not_make() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("demo")).expect("a folder");
    std::fs::write(folder.path().join("demo/flow.yaml"), "mine").expect("a file");
    let refused = dil(folder.path()).run(&["demo"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("demo/not-ours"), "{refused}");
    assert_eq!(std::fs::read_to_string(folder.path().join("demo/flow.yaml")).expect("it is there"), "mine");
    let none = dil(folder.path()).run(&["demo", "elsewhere", "--serve"]);
    assert_eq!(none.code, Some(2), "{none}");
}

#[test]
fn serves_on_so_that_the_user_can_run_the_flow() {
    let folder = tempfile::tempdir().expect("a folder");
    dil(folder.path()).run(&["demo"]).succeeded();
    let demo = folder.path().join("demo");
    let serving = dil(&demo).start(&["demo", "--serve", "."]);
    let flow = std::fs::read_to_string(demo.join("flow.yaml")).expect("the flow is there");
    let address = flow.split("http://").nth(1).and_then(|rest| rest.split("/v1").next()).expect("an address");
    wait_until("the service listens", || std::net::TcpStream::connect(address).is_ok());
    let ran = dil(&demo).env("DIL_SECRET_WEATHER_TOKEN", "demo").run(&["run"]).succeeded();
    assert!(ran.stdout.contains("3 done") && ran.stdout.contains("33 units skipped"), "{ran}");
    assert_eq!(lake::visible(&demo.join("observations")).len(), 36, "the Decembers were exchanged");
    serving.signal(Signal::INT);
    let served = serving.wait();
    assert!(served.stdout.contains("export DIL_SECRET_WEATHER_TOKEN=demo"), "{served}");
}
