//! Ctrl-C: once stops cleanly, twice stops at once; what is recorded stays either way.

use std::time::Duration;

use dil_testkit::oracle::{Fault, FaultKind, Settings};
use dil_testkit::process::Signal;

use crate::lake;
use crate::scene::{Scene, TwoStage, wait_until};

/// The exit code of a run that was stopped, as `dil run --help` documents it.
const STOPPED: i32 = 130;

fn slow_scene() -> Scene {
    let scene = Scene::with(Settings { latency: Duration::from_millis(30), ..Settings::default() });
    for _ in 0..4 {
        let site = scene.oracle.add_site("active");
        for month in ["2024-01", "2024-02", "2024-03"] {
            scene.oracle.add_events(site, &format!("{month}-01"), &format!("{month}-28"), 7);
        }
    }
    scene.write_flow(&TwoStage { more: "parallel: 1", ..TwoStage::default() });
    scene
}

/// The events that were served since the ledger began.
fn served(scene: &Scene) -> Vec<u64> {
    let ledger = scene.oracle.ledger();
    ledger
        .iter()
        .filter(|served| served.path.ends_with("/events"))
        .flat_map(|served| served.rows.clone())
        .collect()
}

#[test]
fn one_interrupt_stops_cleanly_and_resume_goes_on() {
    let scene = slow_scene();
    let running = scene.start("2024-04-01", &[]);
    wait_until("some units are visible", || lake::visible(&scene.lake()).len() >= 3);
    running.signal(Signal::INT);
    let finished = running.wait_within(Duration::from_secs(60));
    assert_eq!(finished.code, Some(STOPPED), "{finished}");
    let recorded = lake::ids(&scene.lake());
    assert!(
        recorded.len() < scene.oracle.ids_between("2024-01-01", "2024-04-01").len(),
        "it stopped before its end"
    );

    scene.oracle.forget();
    scene.dil().run(&["resume", "flow.yaml", "--var", "to=2024-04-01"]).succeeded();
    let again: Vec<u64> = served(&scene).into_iter().filter(|id| recorded.contains(id)).collect();
    assert!(again.is_empty(), "what was recorded is not read again: {again:?}");
    scene.assert_exactly_once("2024-04-01");
}

#[test]
fn two_interrupts_stop_at_once() {
    let scene = slow_scene();
    // The third unit's answer would take ten minutes.
    let hang = Fault {
        matching: "/events".to_owned(),
        after: 9,
        times: u64::MAX,
        kind: FaultKind::DelayMs(600_000),
    };
    scene.oracle.fault(hang);
    let running = scene.start("2024-04-01", &[]);
    wait_until("the run waits for an answer that does not come", || scene.oracle.asked() >= 11);
    let recorded = lake::ids(&scene.lake());
    running.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    running.signal(Signal::INT);
    let finished = running.wait_within(Duration::from_secs(60));
    assert_ne!(finished.code, Some(0), "{finished}");
    // A unit that had all its answers may have been on its way into the lake.
    let left = lake::ids(&scene.lake());
    assert!(recorded.iter().all(|id| left.contains(id)), "what was recorded stays: {recorded:?}, {left:?}");

    scene.oracle.heal();
    scene.run("2024-04-01", &[]).succeeded();
    scene.assert_exactly_once("2024-04-01");
}

#[test]
fn a_termination_stops_as_cleanly_as_an_interrupt() {
    let scene = slow_scene();
    let running = scene.start("2024-04-01", &[]);
    wait_until("a unit is visible", || !lake::visible(&scene.lake()).is_empty());
    running.signal(Signal::TERM);
    let finished = running.wait_within(Duration::from_secs(60));
    assert!(finished.signal.is_none() && finished.code != Some(0), "{finished}");
    scene.run("2024-04-01", &[]).succeeded();
    scene.assert_exactly_once("2024-04-01");
}

#[test]
fn resume_without_an_unfinished_run_says_so() {
    let scene = Scene::small();
    scene.run("2024-03-01", &[]).succeeded();
    let finished = scene.dil().run(&["resume", "flow.yaml", "--var", "to=2024-03-01"]);
    assert_ne!(finished.code, Some(0), "{finished}");
    assert!(finished.stderr.contains("hint:"), "{finished}");
}
