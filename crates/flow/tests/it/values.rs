//! What scalars mean where they stand.

use dil_model::config::Flow;

use crate::{codes, read, rendered};

fn flow(text: &str) -> Result<Flow, String> {
    read(text).map(|checked| checked.flow).map_err(|problems| rendered(text, Err(problems)))
}

#[test]
fn a_listed_value_keeps_its_spelling() {
    let flow = flow(
        "
flow: a
vars: { year: 2024, version: 2.10 }
stages:
  s:
    units: { each: { values: [007, 1.10, yes, true, '${version}'], as: id } }
    read: { files: { path: '${year}/{{ id }}.csv' }, format: csv }
    write: { files: { path: out, format: csv } }
",
    )
    .unwrap();
    let each = flow.stages["s"].units.clone().and_then(|units| units.each).unwrap_or_default();
    let values: Vec<&str> = each.values.iter().map(|value| value.0.as_str()).collect();
    assert_eq!(values, ["007", "1.10", "yes", "true", "2.10"]);
}

#[test]
fn a_variable_is_a_number_where_one_is_expected_and_a_text_elsewhere() {
    let flow = flow(
        "
flow: a
vars: { n: 12, gb: 1GB, truth: true }
parallel: ${n}
memory: ${gb}
connections: { api: { http: { base: https://api.example.com, auth: { bearer: { token: '${n}' } } } } }
stages:
  s:
    read:
      http: { connection: api, path: /x, method: POST, reads: '${truth}', json: { plain: 12, variable: '${n}', none: null } }
      format: json
    write: { files: { path: out, format: csv } }
",
    )
    .unwrap();
    assert_eq!(flow.parallel, 12);
    assert_eq!(flow.memory.0, 1_000_000_000);
    let http = flow.stages["s"].read.http.clone();
    assert_eq!(http.as_ref().map(|http| http.reads), Some(true));
    let json = http.and_then(|http| http.json).unwrap_or_default();
    assert_eq!(json, serde_json::json!({ "plain": 12, "variable": "12", "none": null }));
}

#[test]
fn a_doubled_dollar_is_one() {
    let text = "
flow: a
vars: { price: '5$${x}' }
description: costs $5 and $${name}
stages:
  s:
    read: { files: { path: in/$$x.csv }, format: csv }
    write: { files: { path: out, format: csv } }
";
    let flow = flow(text).unwrap();
    assert_eq!(flow.description.as_deref(), Some("costs $5 and ${name}"));
    assert_eq!(flow.stages["s"].read.files.as_ref().map(|files| files.path.as_str()), Some("in/$$x.csv"));
    assert_eq!(codes(&text.replace("path: out", "path: '${price}'")), ["vars/template-in-value"]);
}

#[test]
fn places_count_characters_and_survive_other_line_ends() {
    let text = "\u{feff}flow: a\r\ndescription: \"größer 🦀\"\r\nstages:\r\n  s: { read: { files: { path: \"ü🦀.csv\" }, format: csvv }, write: { files: { path: o, format: csv } } }\r\n";
    let problems = read(text).err().unwrap_or_default();
    assert_eq!(problems.len(), 1);
    let one = &problems[0];
    assert_eq!((one.line, one.column, one.end_column), (4, 51, 55));
    assert_eq!(text.get(one.bytes.clone()), Some("csvv"));
}

#[test]
fn no_message_repeats_the_credentials_of_a_url() {
    let text = "
flow: a
connections: { api: { http: { base: 'https://user:hunter2@api.example.com:notaport' } } }
stages: { s: { read: { http: { connection: api, path: / }, format: json }, write: { files: { path: o, format: csv } } } }
";
    let problems = read(text).err().unwrap_or_default();
    assert!(!problems.is_empty());
    assert!(problems.iter().all(|one| !one.to_string().contains("hunter2")), "{problems:?}");
}
