//! From a text to a checked flow, or to all of its problems.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dil_model::Problem;
use dil_model::config::Flow;
use dil_model::fingerprint::fingerprint;
use serde_json::Value;

use crate::check::{self, Outline};
use crate::place::{Found, Located, Places};
use crate::tree::Node;
use crate::{shape, substitute, yaml};

/// A flow file's text and what to call it in messages.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name shown before line and column; usually the path as the user gave it.
    pub name: String,
    /// The YAML text.
    pub text: String,
}

/// Looks a variable of the environment up.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a flow file may take from outside.
pub struct Settings {
    /// Values that take the place of those in `vars`, by name. They are data: references in them are not resolved.
    pub vars: BTreeMap<String, String>,
    /// Answers `${env:NAME}`.
    pub env: Environment,
}

impl Default for Settings {
    /// No overrides, and an empty environment.
    fn default() -> Self {
        Self { vars: BTreeMap::new(), env: Box::new(|_| None) }
    }
}

impl fmt::Debug for Settings {
    /// Names only: the values may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("vars", &self.vars.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A flow in which no problem was found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The flow, its references resolved but for secrets.
    pub flow: Flow,
    order: Vec<String>,
    fingerprint: String,
    places: Places,
    root: Node,
}

impl Checked {
    /// The stages so that each comes after the one whose rows it uses; otherwise in the order of the file.
    pub fn order(&self) -> &[String] {
        &self.order
    }

    /// The stages whose rows are this stage's values (`units.each.rows_of`, and in `units.cross`).
    pub fn upstreams(&self, stage: &str) -> Vec<&str> {
        self.flow.stages.get(stage).map(dil_model::config::Stage::upstreams).unwrap_or_default()
    }

    /// The stages whose values are this stage's rows.
    pub fn downstream<'a>(&'a self, stage: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.flow.stages.keys().map(String::as_str).filter(move |name| self.upstreams(name).contains(&stage))
    }

    /// The [`fingerprint`] of what the file means, however it is laid out: comments, quotes and defaults that are spelt out
    /// do not change it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Places a problem that was found later, by its path.
    pub fn locate(&self, problem: Problem) -> Located {
        self.places.find(Some(&self.root), problem)
    }
}

/// Reads, resolves and checks a flow file.
///
/// # Errors
/// Every problem that could be told from the file alone, in the order of their places. Only a mistake in the YAML syntax hides
/// what comes after it; a stage or connection whose shape is wrong is left out of the checks of meaning, the others are
/// checked in full.
pub fn load(source: &Source, settings: &Settings) -> Result<Checked, Vec<Located>> {
    let places = Places::new(&source.name, &source.text);
    let (root, mut found) = yaml::read(&source.text, &places);
    let Some(mut root) = root else {
        return Err(located(&places, None, found));
    };
    found.extend(substitute::resolve(&mut root, settings));
    let (value, problems) = shape::check(&root);
    found.extend(problems.into_iter().map(Found::from));
    let mut flow = match typed(&root, value, &found) {
        Ok(flow) => flow,
        Err(problem) => {
            // The schema said yes and the types say no; a known problem explains it better.
            if found.is_empty() {
                found.push(problem.into());
            }
            return Err(located(&places, Some(&root), found));
        }
    };
    let (order, problems) = check::check(&flow, &Outline::new(&root));
    found.extend(problems.into_iter().map(Found::from));
    if found.is_empty() {
        flow.stages.values_mut().for_each(|stage| stage.read.spell_out());
        let fingerprint = fingerprint(&flow);
        Ok(Checked { flow, order, fingerprint, places, root })
    } else {
        Err(located(&places, Some(&root), found))
    }
}

/// The typed flow without the stages, connections and settings that have problems already.
fn typed(root: &Node, mut value: Value, found: &[Found]) -> Result<Flow, Problem> {
    if let (Some(out), true) = (value.as_object_mut(), root.map().is_some()) {
        for key in ["flow", "stages"] {
            let stand_in =
                if key == "flow" { Value::from("flow") } else { Value::Object(serde_json::Map::new()) };
            out.entry(key).or_insert(stand_in);
        }
        for Found { problem, .. } in found {
            let steps: Vec<&str> = problem.path.iter().map(String::as_str).collect();
            match steps.as_slice() {
                [] => {}
                [section @ ("stages" | "connections" | "vars"), name, ..] => {
                    out.get_mut(*section)
                        .and_then(Value::as_object_mut)
                        .map(|section| section.shift_remove(*name));
                }
                ["flow", ..] => drop(out.insert("flow".to_owned(), "flow".into())),
                ["stages"] if out.get("stages").is_some_and(Value::is_null) => {
                    out.insert("stages".to_owned(), Value::Object(serde_json::Map::new()));
                }
                ["stages"] => {}
                [key, ..] => drop(out.shift_remove(*key)),
            }
        }
    }
    serde_json::from_value(value).map_err(|cause| {
        Problem::new("flow/wrong-value", format!("the flow does not fit together: {cause}"), &[])
            .hint("compare it with `dil schema`")
    })
}

fn located(places: &Places, root: Option<&Node>, found: Vec<Found>) -> Vec<Located> {
    let place = |Found { problem, span }: Found| match span {
        Some(span) => places.at(problem, span),
        None => places.find(root, problem),
    };
    let mut located: Vec<Located> = found.into_iter().map(place).collect();
    located.sort_by_key(|one| (one.bytes.start, one.bytes.end));
    // An alias brings the same mistake to several paths but to one place.
    let mut seen = BTreeSet::new();
    located
        .retain(|one| seen.insert((one.bytes.start, one.problem.code.clone(), one.problem.message.clone())));
    located
}

impl Outline {
    fn new(root: &Node) -> Self {
        let names = |section: &str| -> Vec<String> {
            let entries = root.get(section).and_then(|entry| entry.node.map()).unwrap_or_default();
            entries.iter().map(|entry| entry.key.clone()).collect()
        };
        let mut rows_of = BTreeSet::new();
        let mut texts = Vec::new();
        root.scalars(&mut Vec::new(), &mut |path, _, scalar| {
            if path.last().is_some_and(|key| key == "rows_of") {
                rows_of.insert(scalar.text.clone());
            }
            if !scalar.broken {
                texts.push((path.to_vec(), scalar.text.clone()));
            }
        });
        let stages_empty = root.get("stages").and_then(|entry| entry.node.map()).is_some_and(<[_]>::is_empty);
        Self { stages: names("stages"), stages_empty, connections: names("connections"), rows_of, texts }
    }
}
