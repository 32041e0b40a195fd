//! A folder with a flow in it, an oracle that it reads from, and `dil` run there.

use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dil_testkit::oracle::{Oracle, Settings};
use dil_testkit::process::{Finished, Program, Running};
use tempfile::TempDir;

use crate::lake;

/// The binary under test.
pub(crate) const DIL: &str = env!("CARGO_BIN_EXE_dil");

/// `dil` in `folder`. The tests that use it hold for every ledger: `DIL_TEST_LEDGER` names a server on which each folder has
/// one of its own.
pub(crate) fn program_in(folder: &Path) -> Program {
    let program = Program::new(DIL, folder);
    match ledger_of(folder) {
        Some(ledger) => program.env("DIL_LEDGER", ledger),
        None => program,
    }
}

/// The ledger of a folder, if it is on a server.
pub(crate) fn ledger_of(folder: &Path) -> Option<String> {
    let server = std::env::var("DIL_TEST_LEDGER").ok()?;
    let mut hasher = std::hash::DefaultHasher::new();
    folder.hash(&mut hasher);
    let name = format!("t{:016x}", hasher.finish());
    match server.strip_suffix("/dil").filter(|_| server.starts_with("mysql:")) {
        Some(server) => Some(format!("{server}/{name}")),
        None => Some(format!("{server}?schema={name}")),
    }
}

/// A folder, an oracle, a flow.
pub(crate) struct Scene {
    folder: TempDir,
    pub(crate) oracle: Oracle,
}

impl Scene {
    /// An oracle without sites and an empty folder.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    /// The same with an oracle that behaves as `settings` say.
    pub(crate) fn with(settings: Settings) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), oracle: Oracle::with(settings) }
    }

    /// Two sites with five events in each of January and February 2024, and the two-stage flow by cursor.
    pub(crate) fn small() -> Self {
        let scene = Self::new();
        scene.populate();
        scene.write_flow(&TwoStage::default());
        scene
    }

    /// Adds what [`Scene::small`] has.
    pub(crate) fn populate(&self) {
        for _ in 0..2 {
            let site = self.oracle.add_site("active");
            self.oracle.add_events(site, "2024-01-01", "2024-02-01", 5);
            self.oracle.add_events(site, "2024-02-01", "2024-03-01", 5);
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the flow writes.
    pub(crate) fn lake(&self) -> PathBuf {
        self.path("lake")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file can be written");
    }

    pub(crate) fn write_flow(&self, flow: &TwoStage<'_>) {
        self.write("flow.yaml", &flow.yaml(&self.oracle.url()));
    }

    /// `dil` in this folder.
    pub(crate) fn dil(&self) -> Program {
        program_in(self.folder.path()).env("DIL_SECRET_TOKEN", "wrong").env("NO_COLOR", "1")
    }

    /// `dil run flow.yaml` with `to` as the flow's end, and more options.
    pub(crate) fn run(&self, to: &str, options: &[&str]) -> Finished {
        self.dil().run(&run_arguments(to, options))
    }

    /// The same, begun.
    pub(crate) fn start(&self, to: &str, options: &[&str]) -> Running {
        self.dil().start(&run_arguments(to, options))
    }

    /// Fails the test unless the lake holds every event in `[2024-01-01, to)` exactly once, and nothing is staged any more.
    #[track_caller]
    pub(crate) fn assert_exactly_once(&self, to: &str) {
        assert_eq!(
            lake::ids(&self.lake()),
            self.oracle.ids_between("2024-01-01", to),
            "ids in the lake up to {to}"
        );
        assert_eq!(lake::staged(self.folder.path()), Vec::<PathBuf>::new(), "staged files left behind");
    }
}

/// The arguments of `dil run flow.yaml` up to `to`.
pub(crate) fn run_arguments(to: &str, options: &[&str]) -> Vec<String> {
    let to = format!("to={to}");
    ["run", "flow.yaml", "--var", &to].iter().chain(options).map(ToString::to_string).collect()
}

/// Waits until `condition` holds; fails the test after a time that no machine needs.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The flow that most tests run: sites, then their events by month.
pub(crate) struct TwoStage<'a> {
    /// The first segment of the oracle's paths.
    pub(crate) style: &'a str,
    /// The lines of `read.http` that follow `path`, as a YAML flow mapping's inside.
    pub(crate) request: &'a str,
    /// `read.format`.
    pub(crate) format: &'a str,
    /// More of `units.time`.
    pub(crate) time: &'a str,
    /// Without `units.time`: a unit is all of a site.
    pub(crate) undivided: bool,
    /// The stage `sites`, as a YAML flow mapping.
    pub(crate) sites: &'a str,
    /// `convert`.
    pub(crate) convert: &'a str,
    /// More of `write.files`.
    pub(crate) files: &'a str,
    /// More of the stage `events`, and of the flow.
    pub(crate) more: &'a str,
}

/// The interval as a query, in seconds since 1970, and three rows a page by cursor.
pub(crate) const BY_CURSOR: &str = "query: { from: '{{ low | epoch }}', to: '{{ high | epoch }}', limit: 3 }, \
     paginate: { cursor: { body: meta.next_cursor, param: cursor } }";

/// The same for a whole site up to the flow's end.
pub(crate) const UNDIVIDED: &str = "query: { from: '2024-01-01T00:00:00Z', to: '${to}T00:00:00Z', limit: 3 }, \
     paginate: { cursor: { body: meta.next_cursor, param: cursor } }";

/// All sites in one list.
pub(crate) const SITES: &str =
    "{ read: { http: { connection: api, path: /single/sites }, format: json, rows_at: data.items } }";

impl Default for TwoStage<'_> {
    fn default() -> Self {
        Self {
            style: "cursor",
            request: BY_CURSOR,
            format: "json",
            time: "",
            undivided: false,
            sites: SITES,
            convert: "[]",
            files: "format: parquet",
            more: "",
        }
    }
}

impl TwoStage<'_> {
    fn yaml(&self, url: &str) -> String {
        let Self { style, request, format, time, undivided, sites, convert, files, more } = self;
        let time = format!("time: {{ from: 2024-01-01, to: '${{to}}', every: month{time} }}");
        let time = if *undivided { "" } else { &time };
        let rows_at = if *format == "json" { "rows_at: data.items" } else { "" };
        format!(
            "flow: two_stage
vars: {{ to: now }}
connections:
  api: {{ http: {{ base: '{url}', retry: {{ wait: 10ms..50ms, attempts: 3 }} }} }}
stages:
  sites: {sites}
  events:
    units:
      each: {{ rows_of: sites, fields: [id], where: {{ status: active }} }}
      {time}
    read:
      http: {{ connection: api, path: '/{style}/sites/{{{{ id }}}}/events', {request} }}
      format: {format}
      {rows_at}
    convert: {convert}
    write: {{ files: {{ path: lake, {files} }} }}
    retry: {{ wait: 10ms..50ms, attempts: 2 }}
{more}"
        )
    }
}
