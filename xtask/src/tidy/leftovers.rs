//! Notes to oneself, switched-off tests and debugging aids.

use std::io;
use std::path::Path;

use crate::finding::Finding;
use crate::source::{self, Source};

/// What must not stand in the sources, and what to do. Spelt in parts, so that this file is clean.
const LEFTOVERS: [(&str, &str); 4] = [
    (concat!("TO", "DO"), "do it, or open an issue"),
    (concat!("FIX", "ME"), "fix it, or open an issue"),
    (concat!("#[ig", "nore"), "a test runs or is removed"),
    (concat!("db", "g!("), "remove it"),
];

pub(crate) fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let sources = source::files(root, "", &[".rs", ".sh", ".py", ".toml", ".md"])?;
    Ok(sources.iter().flat_map(source_findings).collect())
}

fn source_findings(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for (leftover, remedy) in LEFTOVERS {
            if stands_in(line, leftover) {
                let name = leftover.trim_end_matches('(');
                findings.push(Finding::new(
                    &source.path,
                    index + 1,
                    format!("`{name}` is left over; {remedy}"),
                ));
            }
        }
    }
    findings
}

/// Whether the line holds it as a word of its own.
fn stands_in(line: &str, leftover: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(leftover).any(|(at, _)| {
        let before = line[..at].ends_with(part_of_word);
        let after = line[at + leftover.len()..].starts_with(part_of_word) && leftover.ends_with(part_of_word);
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::{LEFTOVERS, stands_in};

    #[test]
    fn finds_whole_words() {
        let [(note, _), _, (ignored, _), (debug, _)] = LEFTOVERS;
        assert!(stands_in(&format!("// {note}: later"), note));
        assert!(!stands_in(&format!("const {note}_LIST: u8"), note));
        assert!(stands_in(&format!("    {ignored} = \"slow\"]"), ignored));
        assert!(stands_in(&format!("let x = {debug}y);"), debug));
        assert!(!stands_in(&format!("my_{debug}y);"), debug));
    }
}
