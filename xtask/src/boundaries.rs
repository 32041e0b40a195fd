//! The names of the durable boundaries, read from the sources.
//!
//! A boundary is a call of `durable("area.verb", …)`. A function that takes the name from its caller
//! (`name: &'static str`) and hands it to `durable` is followed one call up, within its crate.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::finding::Finding;
use crate::source::{self, Source, line_of};

/// One name and where it is given.
#[derive(Debug, PartialEq, Eq)]
struct Boundary {
    name: String,
    file: String,
    line: usize,
}

/// Prints the names, sorted.
pub(crate) fn print(root: &Path) -> io::Result<Vec<Finding>> {
    let (boundaries, findings) = find(&sources(root)?);
    let names: std::collections::BTreeSet<&str> =
        boundaries.iter().map(|boundary| boundary.name.as_str()).collect();
    for name in names {
        println!("{name}");
    }
    Ok(findings)
}

/// Checks that each name is formed `area.verb` and stands once.
pub(crate) fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let (boundaries, mut findings) = find(&sources(root)?);
    findings.extend(name_findings(&boundaries));
    Ok(findings)
}

/// Shipped sources; tests may use the wrapper under any name.
fn sources(root: &Path) -> io::Result<Vec<Source>> {
    let all = source::files(root, "crates", &[".rs"])?;
    Ok(all
        .into_iter()
        .filter(|source| {
            source.path.split('/').nth(2) == Some("src") && !source.path.starts_with("crates/testkit/")
        })
        .collect())
}

fn name_findings(boundaries: &[Boundary]) -> Vec<Finding> {
    let mut first: BTreeMap<&str, &Boundary> = BTreeMap::new();
    let mut findings = Vec::new();
    for boundary in boundaries {
        let Boundary { name, file, line } = boundary;
        if !is_formed(name) {
            findings.push(Finding::new(
                file,
                *line,
                format!("the boundary `{name}` is not named `area.verb`"),
            ));
        }
        if let Some(other) = first.get(name.as_str()) {
            let message = format!("the boundary `{name}` stands in {}:{} as well", other.file, other.line);
            findings.push(Finding::new(file, *line, message));
        } else {
            first.insert(name, boundary);
        }
    }
    findings
}

fn is_formed(name: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    matches!(name.split('.').collect::<Vec<_>>().as_slice(), [area, verb] if word(area) && word(verb))
}

fn find(sources: &[Source]) -> (Vec<Boundary>, Vec<Finding>) {
    let mut boundaries = Vec::new();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| !source.path.ends_with("model/src/boundary.rs")) {
        let text = without_comments(source.shipped());
        for at in calls(&text, "durable") {
            match first_text(&text, at) {
                Some((name, byte)) => {
                    boundaries.push(Boundary { name, file: source.path.clone(), line: line_of(&text, byte) });
                }
                None if text[..at].contains("name: &'static str") && text[at..].starts_with("name") => {}
                None => {
                    let message = "the name of a durable boundary must be a literal, or a parameter `name: &'static str`";
                    findings.push(Finding::new(&source.path, line_of(&text, at), message));
                }
            }
        }
    }
    for (owner, function) in forwarders(sources) {
        for source in sources.iter().filter(|source| source.path.starts_with(&owner)) {
            let text = without_comments(source.shipped());
            for at in calls(&text, &format!(".{function}")) {
                if let Some((name, byte)) = first_text(&text, at).filter(|(name, _)| name.contains('.')) {
                    boundaries.push(Boundary { name, file: source.path.clone(), line: line_of(&text, byte) });
                }
            }
        }
    }
    boundaries.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    (boundaries, findings)
}

/// Functions that take the name of a boundary: the crate's folder and the function's name.
fn forwarders(sources: &[Source]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for source in sources {
        let text = without_comments(source.shipped());
        if calls(&text, "durable").is_empty() {
            continue;
        }
        for (at, _) in text.match_indices("name: &'static str") {
            let before = &text[..at];
            let function = before.rfind("fn ").map(|start| &before[start + 3..]);
            let name = function.and_then(|function| function.split(['(', '<']).next()).unwrap_or_default();
            let owner: Vec<&str> = source.path.split('/').take(2).collect();
            let is_crate = !source.path.ends_with("model/src/boundary.rs");
            if is_crate && !name.is_empty() {
                out.push((format!("{}/", owner.join("/")), name.to_owned()));
            }
        }
    }
    out
}

/// The bytes after the opening bracket of each call.
fn calls(text: &str, function: &str) -> Vec<usize> {
    let call = format!("{function}(");
    let starts = text.match_indices(&call).filter(|(at, _)| {
        // `fn durable(` and `not_durable(` are no calls of it.
        let before = &text[..*at];
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !before.ends_with("fn ")
            || function.starts_with('.')
    });
    starts.map(|(at, _)| at + call.len()).collect()
}

/// The first quoted text among the arguments before the closure, and where it begins.
fn first_text(text: &str, at: usize) -> Option<(String, usize)> {
    let rest = &text[at..];
    let arguments = &rest[..rest.find(['|', ';']).unwrap_or(rest.len())];
    let start = arguments.find('"')?;
    let inside = &arguments[start + 1..];
    Some((inside[..inside.find('"')?].to_owned(), at + start))
}

/// The text with comment lines emptied; lines keep their numbers.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| if line.trim_start().starts_with("//") { "\n".to_owned() } else { format!("{line}\n") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Boundary, find, is_formed, name_findings};
    use crate::source::Source;

    fn names(path: &str, text: &str) -> (Vec<String>, Vec<usize>) {
        let (boundaries, findings) = find(&[Source { path: path.to_owned(), text: text.to_owned() }]);
        (
            boundaries.into_iter().map(|one| one.name).collect(),
            findings.into_iter().map(|one| one.line).collect(),
        )
    }

    #[test]
    fn finds_calls_and_what_goes_through_them() {
        let text = "
// durable(\"a.comment\", || x)
fn write(&self, name: &'static str) { durable(name, || 1); }
fn use_it(&self) {
    self.write(lease, \"unit.begin\", |t| t);
    file.write(&bytes);
    durable(
        \"stage.sync\",
        || file.sync_all(),
    );
}

#[cfg(test)]
mod tests { fn x() { durable(\"in.test\", || 1); } }
";
        assert_eq!(
            names("crates/engine/src/a.rs", text),
            (vec!["unit.begin".to_owned(), "stage.sync".to_owned()], vec![])
        );
    }

    #[test]
    fn a_computed_name_is_refused() {
        assert_eq!(names("crates/engine/src/a.rs", "\nfn x() { durable(label, || 1) }\n"), (vec![], vec![2]));
    }

    #[test]
    fn a_name_stands_once_and_is_formed_area_verb() {
        let boundary = |name: &str, line| Boundary { name: name.to_owned(), file: "f.rs".to_owned(), line };
        let findings = name_findings(&[boundary("a.b", 1), boundary("a.b", 2), boundary("Publish", 3)]);
        assert_eq!(findings.iter().map(|one| one.line).collect::<Vec<_>>(), [2, 3]);
        assert!(is_formed("publish.sync-folder") && !is_formed("a.b.c") && !is_formed("a."));
    }
}
