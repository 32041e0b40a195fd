//! A coordinator that sleeps past its lease can do nothing more.

use std::time::Duration;

use dil_testkit::oracle::Settings;
use dil_testkit::process::Signal;

use crate::lake;
use crate::scene::{Scene, run_arguments, wait_until};

/// The exit code of a run whose flow another run took over.
const LOST: i32 = 5;

/// Stops a run after `requests`, lets a second one take over and finish, and wakes the first.
fn check(requests: u64, options: &[&str]) {
    let scene = Scene::with(Settings { latency: Duration::from_millis(40), ..Settings::default() });
    scene.populate();
    let short = scene.dil().env("DIL_LEASE", "400ms");
    scene.write_flow(&crate::scene::TwoStage::default());
    let arguments = run_arguments("2024-03-01", options);
    let first = short.start(&arguments);
    wait_until("the first run has begun", || scene.oracle.asked() >= requests);
    first.signal(Signal::STOP);

    // Refused as long as the lease lasts; it cannot tell a sleeper from one that works.
    let mut refusals = 0;
    loop {
        let second = short.start(&arguments).wait_within(Duration::from_secs(120));
        if second.code == Some(0) {
            break;
        }
        if second.stderr.contains("state/busy") {
            // It was stopped inside a transaction, and SQLite's lock is held by a process that sleeps: safe, but nobody can take
            // over before it goes on. Let it, and stop it a little later.
            first.signal(Signal::CONT);
            std::thread::sleep(Duration::from_millis(5));
            first.signal(Signal::STOP);
            continue;
        }
        assert!(second.stderr.contains("lease"), "{second}");
        refusals += 1;
        assert!(refusals < 1000, "the lease never ends\n{second}");
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.assert_exactly_once("2024-03-01");

    first.signal(Signal::CONT);
    let first = first.wait_within(Duration::from_secs(60));
    assert_eq!(first.code, Some(LOST), "after {requests} requests: it should see that it lost\n{first}");
    assert!(first.stderr.contains("lease/lost"), "after {requests} requests\n{first}");
    // What it staged after it woke may still lie there, seen by no reader; the next run clears it away.
    assert_eq!(lake::ids(&scene.lake()), scene.oracle.ids_between("2024-01-01", "2024-03-01"));
    scene.run("2024-03-01", &[]).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn a_run_that_slept_past_its_lease_publishes_nothing() {
    for requests in [1, 2, 4, 6] {
        check(requests, &[]);
    }
}

#[test]
fn nor_do_its_workers() {
    for requests in [2, 5] {
        check(requests, &["--workers", "2"]);
    }
}
