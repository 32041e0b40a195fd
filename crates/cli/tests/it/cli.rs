//! What each verb says, and the code it ends with.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use dil_testkit::process::{Finished, Program};
use tempfile::TempDir;

use crate::scene::DIL;

const FLOW: &str = "flow: people
connections:
  api: { http: { base: 'https://api.example.com/v1', limit: { requests: 5/s } } }
stages:
  teams:
    read: { http: { connection: api, path: /teams }, format: json, rows_at: data }
    write: { files: { path: out/teams, format: jsonl } }
  events:
    units:
      each: { values: [at, de], as: country }
      time: { from: 2024-01-01, to: now, every: month, grace: 3d }
    read:
      http:
        connection: api
        path: '/{{ country }}/events'
        query: { since: '{{ low | iso }}', until: '{{ high | iso }}' }
        paginate: { page: { param: page } }
      format: json
    write: { files: { path: out/events, format: parquet } }
";

const BY_TEAM: &str = "flow: by_team
connections:
  api: { http: { base: 'https://api.example.com/v1' } }
stages:
  teams:
    read: { http: { connection: api, path: /teams }, format: json }
  members:
    units:
      each: { rows_of: teams, fields: [id], where: { state: active } }
      time: { from: 2024-01-01, to: now, every: month }
    read:
      http: { connection: api, path: '/teams/{{ id }}/members', query: { since: '{{ low | iso }}' } }
      format: json
    write: { files: { path: out/members, format: parquet } }
";

const FILES_FLOW: &str = "flow: files
stages:
  rows:
    read: { files: { path: 'in/*.csv' }, format: csv }
    write: { files: { path: out, format: parquet } }
";

/// A folder in which `dil` is run.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// A flow that reads one CSV file of three rows.
    fn with_rows() -> Self {
        let folder = Self::new();
        folder.write("flow.yaml", FILES_FLOW);
        std::fs::create_dir(folder.0.path().join("in")).expect("a folder");
        folder.write("in/a.csv", "id,name\n1,one\n2,two\n3,three\n");
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("a file can be written");
    }

    fn dil(&self, arguments: &[&str]) -> Finished {
        let program = Program::new(DIL, self.0.path()).env("COLUMNS", "100").env("DIL_STATE", ".dil");
        program.run(arguments)
    }
}

/// The command, its exit code and what it said, for a snapshot.
fn told(folder: &Folder, arguments: &[&str]) -> String {
    let finished = folder.dil(arguments);
    let mut text = format!("$ dil {}\nexit code {:?}\n", arguments.join(" "), finished.code);
    for (name, stream) in [("stdout", &finished.stdout), ("stderr", &finished.stderr)] {
        let _ = write!(text, "--- {name}\n{stream}");
    }
    text
}

#[track_caller]
fn check(name: &str, folder: &Folder, arguments: &[&str]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, told(folder, arguments)));
}

#[test]
fn help_lists_verbs_and_exit_codes() {
    let folder = Folder::new();
    check("help", &folder, &["--help"]);
    check("help_run", &folder, &["run", "--help"]);
    check("no_verb", &folder, &["rnu"]);
}

#[test]
fn the_page_of_exit_codes_says_what_help_says() {
    let path = Path::new("../../docs/exit-codes.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let help = Folder::new().dil(&["--help"]).succeeded().stdout;
    let listed =
        help.lines().skip_while(|line| *line != "Exit codes:").skip(1).take_while(|line| !line.is_empty());
    let rows: Vec<String> = listed
        .map(|line| line.trim().split_once("  ").expect("a code and a meaning"))
        .map(|(code, meaning)| format!("| {code} | {meaning} |"))
        .collect();
    let on_page: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.contains("code |")).collect();
    assert_eq!(on_page, rows);
}

#[test]
fn init_writes_a_flow_that_is_right_and_overwrites_nothing() {
    let folder = Folder::new();
    check("init", &folder, &["init"]);
    check("init_again", &folder, &["init"]);
    check("init_checked", &folder, &["check"]);
}

#[test]
fn check_tells_all_mistakes_under_their_lines() {
    let folder = Folder::new();
    let wrong = FLOW
        .replace("rows_at: data", "rows_ta: data")
        .replace("every: month", "every: moon")
        .replace("requests: 5/s", "requests: 5");
    folder.write("flow.yaml", &wrong);
    check("check_mistakes", &folder, &["check"]);
    let as_json = folder.dil(&["check", "--log-format", "json"]);
    assert_eq!((as_json.code, as_json.stdout.as_str()), (Some(2), ""));
    let codes: Vec<String> = as_json.stderr.lines().map(|line| field(line, "code")).collect();
    assert_eq!(codes.len(), 3, "{as_json}");
}

#[test]
fn check_says_that_a_flow_is_right() {
    let folder = Folder::new();
    folder.write("flow.yaml", FLOW);
    check("check_right", &folder, &["check"]);
    check("check_absent", &folder, &["check", "absent.yaml"]);
}

#[test]
fn a_missing_variable_can_be_given() {
    let folder = Folder::new();
    folder.write("flow.yaml", &FLOW.replace("path: /teams }", "path: '/${area}/teams' }"));
    check("variable_missing", &folder, &["check"]);
    folder.dil(&["check", "--var", "area=north"]).succeeded();
    check("variable_unnamed", &folder, &["check", "--var", "north"]);
}

#[test]
fn plan_tells_units_reasons_requests_and_promises() {
    let folder = Folder::new();
    folder.write("flow.yaml", FLOW);
    check("plan", &folder, &["plan", "--as-of", "2024-03-15", "--units", "4"]);
    let plan = folder.dil(&["plan", "--as-of", "2024-03-15", "--json"]).succeeded();
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).expect("the plan is JSON");
    assert_eq!(plan["stages"][1]["units_total"], 6, "two countries, three months");
    folder.write("by_team.yaml", BY_TEAM);
    check("plan_unknown_values", &folder, &["plan", "by_team.yaml", "--as-of", "2024-02-15"]);
    check("plan_no_time", &folder, &["plan", "--as-of", "yesterday"]);
}

#[test]
fn schema_is_the_one_that_is_published() {
    let path = Path::new("../../docs/flow.schema.json");
    let published: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the file is there")).expect("it is JSON");
    let printed = Folder::new().dil(&["schema"]).succeeded();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&printed.stdout).expect("it is JSON"), published);
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Folder::new().dil(&["completions", shell]).succeeded().stdout;
        assert!(script.contains("preview"), "{shell}");
    }
}

#[test]
fn without_a_ledger_there_is_nothing_to_list() {
    let folder = Folder::new();
    check("runs_no_ledger", &folder, &["runs"]);
}

#[test]
fn a_run_is_summed_up_and_listed() {
    let folder = Folder::with_rows();
    let ran = folder.dil(&["run"]).succeeded();
    assert!(ran.stdout.contains("succeeded") && ran.stdout.contains("1 done"), "{ran}");
    let runs = folder.dil(&["runs", "--format", "csv"]).succeeded().stdout;
    let lines: Vec<&str> = runs.lines().collect();
    assert_eq!(lines[0], "run,flow,state,started,ended,units_done,units_failed,rows,error");
    assert!(lines.len() == 2 && lines[1].contains(",files,succeeded,"), "{runs}");
    let units = folder.dil(&["units", "flow.yaml", "--status", "done", "--format", "json"]).succeeded();
    let units: serde_json::Value = serde_json::from_str(&units.stdout).expect("the units are JSON");
    assert_eq!((&units[0]["rows"], &units[0]["signature"]), (&3.into(), &"all".into()));
    check("units_none", &folder, &["units", "--status", "failed"]);
    check("state_show", &folder, &["state", "show", "files"]);
}

#[test]
fn a_run_tells_json_lines_and_nothing_else_when_asked() {
    let folder = Folder::with_rows();
    let ran = folder.dil(&["run", "--log-format", "json"]).succeeded();
    assert_eq!(ran.stdout, "");
    let events: Vec<String> = ran.stderr.lines().map(|line| field(line, "event")).collect();
    assert_eq!(
        events,
        ["run_started", "stage_started", "unit_started", "unit_done", "stage_ended", "run_ended"]
    );
    for line in ran.stderr.lines() {
        assert!(field(line, "time").parse::<jiff::Timestamp>().is_ok(), "{line}");
    }
}

#[test]
fn a_failed_unit_is_told_with_its_place_and_code() {
    let folder = Folder::with_rows();
    folder.write("in/b.csv", "id,name\n4,\"open\n");
    let failed = folder.dil(&["run"]);
    assert_eq!(failed.code, Some(1), "{failed}");
    for told in ["at unit all", "at stage rows", "hint:", "`dil run` tries the failed units again"] {
        assert!(failed.stderr.contains(told), "`{told}`\n{failed}");
    }
    let units = folder.dil(&["units", "--status", "failed"]).succeeded().stdout;
    assert!(units.contains("rows all: "), "{units}");
}

#[test]
fn preview_shows_rows_and_types_and_writes_nothing() {
    let folder = Folder::with_rows();
    check("preview", &folder, &["preview", "--rows", "2"]);
    check("preview_no_stage", &folder, &["preview", "flow.yaml", "row"]);
    assert!(!folder.0.path().join("out").exists());
}

#[test]
fn a_stage_is_forgotten_only_when_that_is_meant() {
    let folder = Folder::with_rows();
    folder.dil(&["run"]).succeeded();
    check("reset_dry", &folder, &["state", "reset", "files", "rows", "--dry-run"]);
    check("reset_unsure", &folder, &["state", "reset", "files", "rows"]);
    check("reset_unknown", &folder, &["state", "reset", "files", "row", "--yes"]);
    check("reset", &folder, &["state", "reset", "files", "rows", "--yes"]);
    check("reset_shown", &folder, &["state", "show"]);
}

#[test]
fn names_that_the_ledger_does_not_know_are_refused() {
    let folder = Folder::with_rows();
    folder.dil(&["run"]).succeeded();
    for arguments in [
        &["units", "nope"][..],
        &["runs", "nope"],
        &["state", "show", "nope"],
        &["units", "files", "--stage", "nope"],
    ] {
        let refused = folder.dil(arguments);
        assert_eq!(refused.code, Some(2), "{refused}");
        assert!(refused.stderr.contains("nope") && refused.stderr.contains("recorded are"), "{refused}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(DIL)
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("dil can be started");
    drop(child.stdout.take());
    let mut told = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut told).expect("stderr is text");
    let status = child.wait().expect("dil ends");
    assert!(status.success() && told.is_empty(), "{status}\n{told}");
}

#[test]
fn colours_come_only_when_asked_for() {
    let folder = Folder::new();
    folder.write("flow.yaml", "flow: x\nstages: {}\n");
    assert!(!folder.dil(&["check"]).stderr.contains('\u{1b}'));
    assert!(folder.dil(&["check", "--color", "always"]).stderr.contains('\u{1b}'));
}

/// A field of a JSON line, as text.
#[track_caller]
fn field(line: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}")).to_owned()
}
