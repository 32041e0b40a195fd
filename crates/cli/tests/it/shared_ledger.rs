//! A ledger on a server: what can only happen there. That all else is as with a file is told by the other tests, which
//! `scripts/test.sh` runs with each kind of server again.

use std::time::Duration;

use dil_testkit::database::{Database, Kind, PASSWORD};
use dil_testkit::oracle::Settings;
use dil_testkit::process::{Finished, Program, Signal};

use crate::scene::{Scene, TwoStage, run_arguments, wait_until};

/// A scene whose source takes its time, and `dil` in it with its ledger in `database`.
fn slow_scene(database: &Database) -> (Scene, Program) {
    let scene = Scene::with(Settings { latency: Duration::from_millis(30), ..Settings::default() });
    scene.populate();
    scene.write_flow(&TwoStage::default());
    let program = scene.dil().env("DIL_LEDGER", database.url());
    (scene, program)
}

#[track_caller]
fn assert_tells_no_secret(finished: &Finished) {
    for text in [&finished.stdout, &finished.stderr] {
        assert!(!text.contains(PASSWORD), "{finished}");
    }
}

fn survives_a_restart(kind: Kind) {
    let mut database = Database::start(kind);
    let (scene, program) = slow_scene(&database);
    let running = program.start(&run_arguments("2024-03-01", &[]));
    // Some units are under way.
    wait_until("events are asked for", || scene.oracle.asked() > 2);
    database.stop();
    std::thread::sleep(Duration::from_millis(300));
    database.resume();
    let first = running.wait_within(Duration::from_secs(120));
    assert_tells_no_secret(&first);
    // What was cut in the middle of a transaction may have failed; nothing of it is half done.
    let second = program.run(&run_arguments("2024-03-01", &[]));
    assert_eq!(second.code, Some(0), "first:\n{first}\nsecond:\n{second}");
    scene.assert_exactly_once("2024-03-01");
    assert!(!scene.path(".dil/ledger.sqlite").exists(), "the ledger is on the server, and nowhere else");
    let again = program.run(&run_arguments("2024-03-01", &[])).succeeded();
    assert!(again.stdout.contains("4 units skipped: already done"), "{again}");
}

#[test]
fn a_run_goes_on_when_postgres_comes_back() {
    survives_a_restart(Kind::Postgres);
}

#[test]
fn a_run_goes_on_when_mariadb_comes_back() {
    survives_a_restart(Kind::MariaDb);
}

fn keeps_others_out(kind: Kind) {
    let database = Database::start(kind);
    let (scene, program) = slow_scene(&database);
    let running = program.start(&run_arguments("2024-03-01", &[]));
    wait_until("events are asked for", || scene.oracle.asked() > 2);
    let other = program.run(&run_arguments("2024-03-01", &[]));
    assert!(other.code != Some(0) && other.stderr.contains("lease/held"), "{other}");
    assert!(other.stderr.contains(&format!("process {}", running.id())), "{other}");
    assert_tells_no_secret(&other);
    // A dead holder on this machine is known to be dead: nobody waits for its lease to end.
    running.signal(Signal::KILL);
    running.wait();
    program.run(&run_arguments("2024-03-01", &[])).succeeded();
    scene.assert_exactly_once("2024-03-01");
}

#[test]
fn postgres_lets_one_run_of_a_flow_be() {
    keeps_others_out(Kind::Postgres);
}

#[test]
fn mariadb_lets_one_run_of_a_flow_be() {
    keeps_others_out(Kind::MariaDb);
}

fn tells_what_is_wrong(kind: Kind) {
    let mut database = Database::start(kind);
    let (scene, program) = slow_scene(&database);
    let refused = |finished: Finished, slug: &str| {
        assert_eq!(finished.code, Some(4), "{finished}");
        assert!(finished.stderr.contains(slug) && finished.stderr.contains("hint:"), "{finished}");
        finished
    };
    // Without a password, with a wrong one, and with the right one in its own variable.
    let program = program.env("DIL_LEDGER", database.url().replace(&format!(":{PASSWORD}"), ""));
    refused(program.run(&run_arguments("2024-03-01", &[])), "state/login");
    let wrong = program.clone().env("DIL_SECRET_LEDGER", "wrong-4711").run(&run_arguments("2024-03-01", &[]));
    assert!(!refused(wrong, "state/login").stderr.contains("4711"));
    let right = program.clone().env("DIL_SECRET_LEDGER", PASSWORD);
    let nothing = refused(right.run(&["units"]), "state/none");
    assert_tells_no_secret(&nothing);
    right.run(&run_arguments("2024-03-01", &[])).succeeded();
    right.run(&["units"]).succeeded();
    scene.assert_exactly_once("2024-03-01");
    database.stop();
    let dead = refused(right.run(&["units"]), "state/unreachable");
    assert_tells_no_secret(&dead);
}

#[test]
fn postgres_is_told_what_is_wrong_with_it() {
    tells_what_is_wrong(Kind::Postgres);
}

#[test]
fn mariadb_is_told_what_is_wrong_with_it() {
    tells_what_is_wrong(Kind::MariaDb);
}

#[test]
fn an_address_that_is_none_is_refused_before_anything_runs() {
    let scene = Scene::small();
    for address in [
        "redis://me:hush-1@db/0",
        "postgres://me:hush-1@db",
        "mysql://me:hush-1@db/x?sslmode=off",
        "me:hush-1",
    ] {
        let finished = scene.dil().env("DIL_LEDGER", address).run(&run_arguments("2024-03-01", &[]));
        assert_eq!(finished.code, Some(2), "{finished}");
        assert!(
            finished.stderr.contains("state/address") && !finished.stderr.contains("hush-1"),
            "{finished}"
        );
    }
    assert_eq!(scene.oracle.asked(), 0);
}
