//! Flows without a mistake, and what becomes of them.

use dil_model::Problem;
use dil_model::config::{Connection, Publish, Write};

use crate::{codes, read, read_with, rendered};

/// The two-step ingestion of the design, written to a local folder.
const QUALAROO: &str = r#"
flow: qualaroo                       # 2-step ingestion
vars: { lake: ./lake }
connections:
  api:
    http:
      base: https://api.qualaroo.com/api/v1
      auth: { basic: { username: "${env:QUALAROO_KEY}", password: "${secret:QUALAROO}" } }
      limit: { requests: 5/s, concurrent: 4 }      # for all units together
stages:
  responses:
    units:
      each: { rows_of: surveys, fields: [id], where: { status: "active|paused" } }
      time: { from: 2024-01-01, to: now, every: month, timezone: UTC, grace: 3d }
      max: 500                                     # units a run; the rest next time
    read:
      http:
        connection: api
        path: /nudges/{{ id }}/responses.json
        query: { start_date: "{{ low | epoch }}", end_date: "{{ high | epoch }}" }
        paginate: { offset: { param: offset, size_param: limit, size: 500 } }
      format: json
      rows_at: data.items                          # where the rows are in a page
    convert:
      - derive: { survey_id: { value: "{{ id }}", type: int64 }, day: { from: time, as: epoch_ms, timezone: UTC } }
    write: { files: { path: "${lake}/qualaroo/responses/", format: parquet } }
    publish: each_unit                             # default; or all_units
  surveys:
    read: { http: { connection: api, path: /nudges }, format: json }
"#;

#[test]
fn the_flow_of_the_design_loads() {
    let checked = read(QUALAROO).unwrap_or_else(|problems| panic!("{}", rendered(QUALAROO, Err(problems))));
    assert_eq!(checked.order(), ["surveys", "responses"]);
    assert_eq!(checked.upstreams("responses"), ["surveys"]);
    assert_eq!(checked.upstreams("surveys"), [""; 0]);
    assert_eq!(checked.downstream("surveys").collect::<Vec<_>>(), ["responses"]);
    let responses = &checked.flow.stages["responses"];
    assert_eq!(responses.publish, Publish::EachUnit);
    assert!(
        matches!(&responses.write, Some(Write::Files(files)) if files.path == "./lake/qualaroo/responses/")
    );
    let Connection::Http(api) = &checked.flow.connections["api"];
    let auth = serde_json::to_value(&api.auth).unwrap_or_default();
    assert_eq!(auth["basic"]["username"], "key-1");
    assert_eq!(auth["basic"]["password"], "${secret:QUALAROO}", "a secret travels unresolved");
}

#[test]
fn a_given_value_takes_the_place_of_a_variable() {
    let path = |vars: &[(&str, &str)]| {
        let checked = read_with(QUALAROO, vars).map_err(|problems| rendered(QUALAROO, Err(problems)));
        checked.map(|checked| match &checked.flow.stages["responses"].write {
            Some(Write::Files(files)) => files.path.clone(),
            None => String::new(),
        })
    };
    assert_eq!(path(&[("lake", "/data")]), Ok("/data/qualaroo/responses/".to_owned()));
    let misspelt = path(&[("laek", "/data")]).unwrap_or_else(|problems| problems);
    assert!(misspelt.contains("vars/not-used") && misspelt.contains("did you mean `lake`?"), "{misspelt}");
    let template = path(&[("lake", "{{ low }}")]).unwrap_or_else(|problems| problems);
    assert!(template.contains("vars/template-in-value"), "{template}");
}

#[test]
fn a_later_problem_is_placed_by_its_path() {
    let checked = read(QUALAROO).unwrap_or_else(|problems| panic!("{}", rendered(QUALAROO, Err(problems))));
    let problem = Problem::new("plan/x", "x", &["stages", "responses", "units", "time", "every"]);
    let located = checked.locate(problem.clone());
    assert_eq!((located.line, located.column, located.end_line, located.end_column), (14, 49, 14, 54));
    assert_eq!(QUALAROO.get(located.bytes), Some("month"));
    let on_key = checked.locate(problem.on_key());
    assert_eq!(QUALAROO.get(on_key.bytes), Some("every"));
    let absent = checked.locate(Problem::new("plan/x", "x", &["stages", "surveys", "units", "time"]));
    assert_eq!(QUALAROO.get(absent.bytes), Some("surveys"), "the nearest parent that is there");
}

#[test]
fn the_fingerprint_is_of_the_meaning_not_of_the_layout() {
    let flow = |text: &str| {
        read(text)
            .map(|checked| checked.fingerprint().to_owned())
            .map_err(|problems| rendered(text, Err(problems)))
    };
    let plain = "flow: a\nstages:\n  s:\n    read: { files: { path: a.csv }, format: csv }\n    write: { files: { path: o, format: csv } }\n";
    let laid_out = "# a\nflow: 'a'\nparallel: 4\nstages: { s: { write: { files: { format: csv, path: o } }, read: { format: csv, files: { path: \"a.csv\" } } } }\n";
    assert_eq!(flow(plain), flow(laid_out));
    assert_ne!(flow(plain), flow(&plain.replace("a.csv", "b.csv")));
}

#[test]
fn aliases_and_merge_keys_share_settings() {
    let text = "
flow: a
stages:
  one:
    read: &read { files: { path: a.csv }, format: csv }
    retry: &retry { attempts: 7, within: 2h }
    write: { files: { path: out/one, format: csv } }
  two:
    read: { <<: *read, files: { path: b.csv } }
    retry: *retry
    write: { files: { path: out/two, format: csv } }
";
    let checked = read(text).unwrap_or_else(|problems| panic!("{}", rendered(text, Err(problems))));
    let two = &checked.flow.stages["two"];
    assert_eq!(two.retry.attempts, 7);
    assert_eq!(
        two.read.files.as_ref().map(|files| files.path.as_str()),
        Some("b.csv"),
        "a key of its own wins"
    );
}

#[test]
fn a_broken_stage_does_not_hide_the_problems_of_another() {
    let text = "
flow: a
stages:
  one:
    read: { files: { path: a.csv }, format: csw }
  two:
    units: { each: { rows_of: one, fields: [id] } }
    read: { files: { path: '{{ ident }}.csv' }, format: csv }
    write: { files: { path: out, format: csv } }
";
    assert_eq!(
        codes(text),
        ["flow/unknown-value", "template/unknown-name"],
        "`one` exists, though it is broken"
    );
}

#[test]
fn a_variable_may_be_given_from_outside_alone() {
    let text = "flow: a\nstages: { s: { read: { files: { path: '${in}' }, format: csv }, write: { files: { path: o, format: csv } } } }\n";
    assert_eq!(codes(text), ["vars/unknown"]);
    let checked = read_with(text, &[("in", "a.csv")])
        .unwrap_or_else(|problems| panic!("{}", rendered(text, Err(problems))));
    assert_eq!(checked.flow.stages["s"].read.files.as_ref().map(|files| files.path.as_str()), Some("a.csv"));
}

#[test]
fn the_flows_of_the_repository_load() {
    let root = std::path::Path::new("../..");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(root.join("benches/flows")).unwrap() {
        texts.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let page = std::fs::read_to_string(root.join(page)).unwrap();
        let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        texts.extend(blocks.filter(|block| block.starts_with("flow:")).map(str::to_owned));
    }
    assert!(texts.len() > 5, "the search finds them");
    for text in texts {
        let given = [("url", "http://127.0.0.1:1"), ("folder", "in"), ("file", "a.csv"), ("out", "out")];
        let used: Vec<(&str, &str)> =
            given.into_iter().filter(|(name, _)| text.contains(&format!("${{{name}}}"))).collect();
        let result = read_with(&text, &used);
        assert!(result.is_ok(), "{text}\n{}", rendered(&text, result));
    }
}
