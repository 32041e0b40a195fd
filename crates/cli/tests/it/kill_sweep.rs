//! SIGKILL just before and just after every durable boundary; then every row is there exactly once.
//!
//! The boundaries are found by running: `DIL_FAULT_LOG` names each one that is crossed. What the sources name and no scenario
//! crosses fails the last test, so a new boundary cannot escape.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dil_testkit::oracle::{Fault, FaultKind, Settings};
use dil_testkit::process::Finished;
use serde_json::Value;

use crate::lake;
use crate::scene::{Scene, TwoStage, UNDIVIDED, run_arguments};

/// Cases of a sweep that run at once.
const AT_ONCE: usize = 3;

/// How one run of a scenario ends when the sweep leaves it alone.
#[derive(Debug, Clone, Copy)]
enum Ends {
    Well,
    /// A unit fails.
    Failing,
    /// It dies at this boundary, so that the next run has something to recover.
    Killed(&'static str),
}

/// One run of a scenario.
struct Run {
    /// What changes at the source before it.
    before: fn(&Scene),
    /// How far it goes.
    to: &'static str,
    ends: Ends,
}

impl Run {
    fn up_to(to: &'static str) -> Self {
        Self { before: |_| {}, to, ends: Ends::Well }
    }
}

/// Runs of one flow, one after the other.
struct Scenario {
    name: &'static str,
    options: &'static [&'static str],
    flow: TwoStage<'static>,
    runs: Vec<Run>,
    /// New files appear before the old ones go, so a run that died may show rows twice until the next one.
    swaps: bool,
    /// The boundaries that this scenario is there for; all that it crosses if there are none.
    only: &'static [&'static str],
    /// How long each answer of the source takes, and how long the lease lasts.
    pace: Option<(Duration, &'static str)>,
}

impl Default for Scenario {
    fn default() -> Self {
        let runs = vec![Run::up_to("2024-02-01"), Run::up_to("2024-03-01")];
        Self { name: "", options: &[], flow: TwoStage::default(), runs, swaps: false, only: &[], pace: None }
    }
}

/// One process to kill: in which run, at which crossing of which boundary, on which side.
#[derive(Debug, Clone)]
struct Case {
    run: usize,
    boundary: String,
    side: &'static str,
    crossing: usize,
}

impl Scenario {
    fn scene(&self) -> Scene {
        let latency = self.pace.map_or(Duration::ZERO, |(latency, _)| latency);
        let scene = Scene::with(Settings { latency, ..Settings::default() });
        scene.populate();
        scene.write_flow(&self.flow);
        scene
    }

    fn start(&self, scene: &Scene, run: usize, variable: Option<(&str, String)>) -> Finished {
        let mut program = scene.dil();
        if let Some((_, lease)) = self.pace {
            program = program.env("DIL_LEASE", lease);
        }
        if let Some((name, value)) = variable {
            program = program.env(name, value);
        }
        program.start(&run_arguments(self.runs[run].to, self.options)).wait_within(Duration::from_secs(120))
    }

    /// Runs one run as it ends by itself.
    fn run(&self, scene: &Scene, run: usize, case: &dyn std::fmt::Debug) {
        let fault = match self.runs[run].ends {
            Ends::Killed(fault) => Some(("DIL_FAULT", fault.to_owned())),
            Ends::Well | Ends::Failing => None,
        };
        let finished = self.start(scene, run, fault);
        let as_expected = match self.runs[run].ends {
            Ends::Well => finished.code == Some(0),
            Ends::Failing => finished.code.is_some_and(|code| code != 0),
            Ends::Killed(_) => finished.was_killed(),
        };
        assert!(
            as_expected,
            "{}, {case:?}: run {run} should end {:?}\n{finished}",
            self.name, self.runs[run].ends
        );
    }

    /// How often each run crosses each boundary when the sweep leaves it alone.
    fn learn(&self) -> Vec<BTreeMap<String, usize>> {
        let scene = self.scene();
        let mut learnt = Vec::new();
        for (number, run) in self.runs.iter().enumerate() {
            (run.before)(&scene);
            let mut crossed = BTreeMap::new();
            // What a run that dies crosses is learnt by no log of its own: it has to die at the boundary it is told.
            if let Ends::Killed(_) = run.ends {
                self.run(&scene, number, &"learning");
            } else {
                let log = scene.path(&format!("boundaries-{number}"));
                self.start(&scene, number, Some(("DIL_FAULT_LOG", log.to_string_lossy().into_owned())));
                let text = std::fs::read_to_string(&log).expect("a debug build logs its boundaries");
                for name in text.lines() {
                    *crossed.entry(name.to_owned()).or_insert(0) += 1;
                }
            }
            learnt.push(crossed);
        }
        learnt
    }

    /// The cases of a sweep: the first two crossings of each boundary and the last, both sides.
    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (run, crossed) in self.learn().into_iter().enumerate() {
            for (boundary, count) in crossed {
                if !self.only.is_empty() && !self.only.contains(&boundary.as_str()) {
                    continue;
                }
                for crossing in BTreeSet::from([1, 2.min(count), count]) {
                    for side in ["before", "after"] {
                        cases.push(Case { run, boundary: boundary.clone(), side, crossing });
                    }
                }
            }
        }
        cases
    }

    /// Runs one case; says whether the process died at its boundary.
    fn check(&self, case: &Case) -> bool {
        let scene = self.scene();
        let mut died = false;
        for (number, run) in self.runs.iter().enumerate() {
            (run.before)(&scene);
            if number == case.run {
                let fault = format!("{}:{}:{}", case.boundary, case.side, case.crossing);
                died = self.start(&scene, number, Some(("DIL_FAULT", fault))).was_killed();
                self.assert_no_row_is_seen_twice(&scene, case);
            }
            self.run(&scene, number, case);
        }
        let to = self.runs.last().map_or("", |run| run.to);
        assert_eq!(
            lake::ids(&scene.lake()),
            scene.oracle.ids_between("2024-01-01", to),
            "{}, {case:?}",
            self.name
        );
        assert_eq!(lake::staged(scene.folder()), Vec::<PathBuf>::new(), "{}, {case:?}", self.name);
        died
    }

    /// Whatever moment it died in, a reader sees whole files, and no row twice.
    fn assert_no_row_is_seen_twice(&self, scene: &Scene, case: &Case) {
        let ids = lake::ids(&scene.lake());
        let distinct: BTreeSet<u64> = ids.iter().copied().collect();
        assert!(
            self.swaps || distinct.len() == ids.len(),
            "{}, {case:?}: a row is visible twice: {ids:?}",
            self.name
        );
    }

    fn sweep(&self) {
        let cases = self.cases();
        assert!(
            cases.len() > if self.only.is_empty() { 20 } else { 0 },
            "{}: only {} cases",
            self.name,
            cases.len()
        );
        let (died, next) = (Mutex::new(BTreeSet::new()), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if self.check(case) {
                            died.lock()
                                .expect("no case failed in it")
                                .insert((case.boundary.clone(), case.side));
                        }
                    }
                });
            }
        });
        let died = died.into_inner().expect("no case failed in it");
        for case in &cases {
            // A worker dies alone, and the coordinator lives to see it.
            let in_worker = !self.options.is_empty() && case.boundary.starts_with("stage.sync");
            let found = died.contains(&(case.boundary.clone(), case.side));
            assert!(in_worker || found, "{}: no process died {} {}", self.name, case.side, case.boundary);
        }
    }
}

fn appended() -> Scenario {
    Scenario { name: "append", ..Scenario::default() }
}

fn in_workers() -> Scenario {
    Scenario { name: "workers", options: &["--workers", "2"], ..Scenario::default() }
}

fn replaced() -> Scenario {
    let flow = TwoStage {
        files: "format: parquet, mode: replace",
        request: UNDIVIDED,
        undivided: true,
        more: "    publish: all_units",
        ..TwoStage::default()
    };
    Scenario { name: "replace", flow, ..Scenario::default() }
}

fn late_rows(scene: &Scene) {
    scene.oracle.add_event(1, "2024-01-20T12:00:00Z", Value::Null);
    scene.oracle.add_event(2, "2024-02-20T12:00:00Z", Value::Null);
}

fn swapped() -> Scenario {
    let flow = TwoStage { time: ", grace: 40d", ..TwoStage::default() };
    let runs = vec![Run::up_to("2024-03-01"), Run { before: late_rows, ..Run::up_to("2024-03-01") }];
    Scenario { name: "late rows", flow, runs, swaps: true, ..Scenario::default() }
}

fn break_site_2(scene: &Scene) {
    let kind = FaultKind::Status(404);
    scene.oracle.fault(Fault { matching: "sites/2/events".to_owned(), after: 0, times: u64::MAX, kind });
}

fn failing_then_healed() -> Vec<Run> {
    let failing = Run { before: break_site_2, ends: Ends::Failing, ..Run::up_to("2024-03-01") };
    vec![failing, Run { before: |scene| scene.oracle.heal(), ..Run::up_to("2024-03-01") }]
}

fn failing() -> Scenario {
    Scenario { name: "a unit fails", runs: failing_then_healed(), ..Scenario::default() }
}

fn all_at_once() -> Scenario {
    let flow = TwoStage { more: "    publish: all_units", ..TwoStage::default() };
    Scenario { name: "all units or none", flow, runs: failing_then_healed(), ..Scenario::default() }
}

fn recovering() -> Scenario {
    let killed = Run { ends: Ends::Killed("publish.rename:after:2"), ..Run::up_to("2024-02-01") };
    Scenario { name: "recovery", runs: vec![killed, Run::up_to("2024-03-01")], ..Scenario::default() }
}

fn more_events(scene: &Scene) {
    scene.oracle.add_events(1, "2024-01-05", "2024-01-25", 60);
}

fn checkpointed() -> Scenario {
    // One row a page and a file of a few rows: many places to save a position at. A run that dies leaves one to go on from.
    let request = "query: { from: '{{ low | epoch }}', to: '{{ high | epoch }}', limit: 1 }, \
         paginate: { cursor: { body: meta.next_cursor, param: cursor } }";
    let files = "format: parquet, file_size: 1KiB";
    let flow = TwoStage { request, files, more: "parallel: 1", ..TwoStage::default() };
    let killed = Run {
        before: more_events,
        ends: Ends::Killed("unit.checkpoint:before:2"),
        ..Run::up_to("2024-02-01")
    };
    let runs = vec![killed, Run::up_to("2024-03-01")];
    Scenario { name: "checkpoints", flow, runs, ..Scenario::default() }
}

fn lose_staged_files(scene: &Scene) {
    for path in lake::staged(scene.folder()) {
        if path.extension().is_some_and(|extension| extension == "part") {
            std::fs::remove_file(path).expect("it is there");
        }
    }
}

fn losing() -> Scenario {
    // It dies when some files of a unit are published; the others are lost, so the publication can never be finished.
    let request = "query: { from: '{{ low | epoch }}', to: '{{ high | epoch }}', limit: 1 }, \
         paginate: { cursor: { body: meta.next_cursor, param: cursor } }";
    let files = "format: parquet, file_size: 1B";
    let flow = TwoStage { request, files, ..TwoStage::default() };
    let killed = Run { ends: Ends::Killed("publish.rename:after:3"), ..Run::up_to("2024-02-01") };
    let runs = vec![killed, Run { before: lose_staged_files, ..Run::up_to("2024-02-01") }];
    Scenario {
        name: "losing",
        flow,
        runs,
        only: &["publication.cancel", "publish.take-back"],
        ..Scenario::default()
    }
}

fn housekeeping() -> Scenario {
    // Rows of a list stage are kept for a few runs; the next one forgets the oldest.
    let runs = (0..8).map(|_| Run::up_to("2024-02-01")).collect();
    Scenario {
        name: "housekeeping",
        runs,
        only: &["rows.forget", "publish.remove-tree"],
        ..Scenario::default()
    }
}

/// Makes the ledger one that the first version of dil wrote.
fn age_ledger(scene: &Scene) {
    let ledger = rusqlite::Connection::open(scene.path(".dil/ledger.sqlite")).expect("the ledger opens");
    let version: i64 =
        ledger.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("it has a version");
    if version == 3 {
        ledger
            .execute_batch(
                "BEGIN;
                 CREATE TABLE unit_1 (
                     flow TEXT NOT NULL, stage TEXT NOT NULL, signature TEXT NOT NULL, state TEXT NOT NULL,
                     recorded_high INTEGER, done_before INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
                     rows INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, run TEXT NOT NULL,
                     updated TEXT NOT NULL, error TEXT, work TEXT, position TEXT, manifest TEXT, done_run TEXT, each TEXT,
                     PRIMARY KEY (flow, stage, signature)
                 ) WITHOUT ROWID;
                 INSERT INTO unit_1 SELECT flow, stage, signature, state, recorded_high, done_before, attempts, rows, bytes,
                     run, '2026-01-01T00:00:00Z', error, work, position, manifest, done_run, each FROM unit;
                 DROP TABLE unit;
                 ALTER TABLE unit_1 RENAME TO unit;
                 CREATE INDEX unit_by_state ON unit (flow, stage, state);
                 ALTER TABLE run DROP COLUMN backfill;
                 ALTER TABLE file DROP COLUMN low;
                 PRAGMA user_version = 1;
                 COMMIT",
            )
            .expect("it can be made older");
    }
}

fn aged() -> Scenario {
    let runs = vec![Run::up_to("2024-02-01"), Run { before: age_ledger, ..Run::up_to("2024-03-01") }];
    Scenario { name: "aged", runs, only: &["ledger.migrate"], ..Scenario::default() }
}

/// Writes a list of one site for each of two days.
fn write_lists(scene: &Scene) {
    std::fs::create_dir_all(scene.path("list")).expect("a folder");
    for (day, site) in [(1, 1), (2, 2)] {
        scene.write(&format!("list/2024-01-0{day}.csv"), &format!("id,status\n{site},active\n"));
    }
}

fn followed() -> Scenario {
    // Sites come one by one, each listed once, and their events are read while the others are still to come.
    let sites = "{ units: { time: { from: 2024-01-01, to: 2024-01-03, every: day } }, \
         read: { files: { path: 'list/{{ low | date }}.csv' }, format: csv } }";
    let flow = TwoStage { sites, ..TwoStage::default() };
    let runs = vec![
        Run { before: write_lists, ..Run::up_to("2024-02-01") },
        Run { before: write_lists, ..Run::up_to("2024-02-01") },
    ];
    Scenario { name: "followed", flow, runs, ..Scenario::default() }
}

fn slow() -> Scenario {
    // Each answer takes longer than a third of the lease, so every run renews it.
    let pace = Some((Duration::from_millis(120), "300ms"));
    Scenario { name: "slow", pace, runs: vec![Run::up_to("2024-02-01")], ..Scenario::default() }
}

#[test]
fn no_row_is_lost_or_doubled_when_files_are_added() {
    appended().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_with_workers() {
    in_workers().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_when_a_folder_is_replaced() {
    replaced().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_when_late_rows_take_the_place_of_files() {
    swapped().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_when_a_unit_fails() {
    failing().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_when_all_units_wait_for_each_other() {
    all_at_once().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_when_staged_files_are_lost() {
    losing().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_when_the_recovery_dies() {
    recovering().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_between_checkpoints() {
    checkpointed().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_when_old_rows_are_forgotten() {
    housekeeping().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_when_a_stage_follows_another() {
    followed().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_when_the_ledger_is_of_an_older_version() {
    aged().sweep();
}

#[test]
fn no_row_is_lost_or_doubled_around_a_renewal() {
    let slow = slow();
    for side in ["before", "after"] {
        assert!(
            slow.check(&Case { run: 0, boundary: "lease.renew".to_owned(), side, crossing: 1 }),
            "{side}"
        );
    }
}

/// The names that stand in calls of the wrapper and of what goes through it.
fn names_in_the_sources(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("sources can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names_in_the_sources(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source is text");
            for call in ["durable(", ".transaction(", ".write("] {
                for (at, _) in text.match_indices(call) {
                    // The name comes before the closure, which begins with a bar.
                    let arguments = text[at + call.len()..].split(['|', ';']).next().unwrap_or_default();
                    let quoted = arguments.split('"').nth(1).unwrap_or_default();
                    let is_name = quoted.contains('.')
                        && quoted.chars().all(|c| c.is_ascii_lowercase() || ".-".contains(c));
                    names.extend(is_name.then(|| quoted.to_owned()));
                }
            }
        }
    }
}

#[test]
fn every_boundary_in_the_sources_is_crossed_by_a_sweep() {
    // Cargo runs a test in its package's folder.
    let crates = Path::new("..");
    let mut names = BTreeSet::new();
    for name in ["engine", "connect"] {
        names_in_the_sources(&crates.join(name).join("src"), &mut names);
    }
    assert!(names.len() > 15, "the search finds them: {names:?}");
    let scenarios = [
        appended(),
        in_workers(),
        replaced(),
        swapped(),
        failing(),
        all_at_once(),
        recovering(),
        checkpointed(),
        losing(),
        housekeeping(),
        aged(),
        followed(),
        slow(),
    ];
    let crossed: BTreeSet<String> =
        scenarios.iter().flat_map(Scenario::learn).flat_map(BTreeMap::into_keys).collect();
    // Not of a run: edits by hand, which are done again if they are cut short, and forget what is meant to be read again.
    for edit in ["stage.reset", "unit.forget", "unit.move"] {
        assert!(names.remove(edit), "{edit} is no boundary any more");
    }
    let missed: Vec<_> = names.difference(&crossed).collect();
    assert!(missed.is_empty(), "durable boundaries that no sweep crosses: {missed:?}");
}
