//! Flow files as users write them: right ones load, wrong ones get all their problems told.

mod loads;
mod mistakes;
mod mutations;
mod values;

use dil_flow::{Checked, Located, Settings, Source, load};

/// Loads a text under the name `flow.yaml`, with one variable in the environment.
fn read(text: &str) -> Result<Checked, Vec<Located>> {
    read_with(text, &[])
}

fn read_with(text: &str, vars: &[(&str, &str)]) -> Result<Checked, Vec<Located>> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let env = Box::new(|name: &str| (name == "QUALAROO_KEY").then(|| "key-1".to_owned()));
    let source = Source { name: "flow.yaml".to_owned(), text: text.to_owned() };
    load(&source, &Settings { vars, env })
}

/// The problems as plain text, each with the characters that it points at.
fn rendered(text: &str, result: Result<Checked, Vec<Located>>) -> String {
    match result {
        Ok(_) => "no problem".to_owned(),
        Err(problems) => {
            let each = problems
                .iter()
                .map(|one| format!("{one}\n    at: {}", text.get(one.bytes.clone()).unwrap_or("OUTSIDE")));
            each.collect::<Vec<_>>().join("\n")
        }
    }
}

fn codes(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|one| one.problem.code).collect(),
    }
}
