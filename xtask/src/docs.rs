//! The reference pages and the JSON Schema, written from the types of the flow file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::finding::Finding;
use crate::source;

const REFERENCE: &str = "docs/reference";
const SCHEMA: &str = "docs/flow.schema.json";

/// What should be in the repository, by path.
fn wanted() -> io::Result<BTreeMap<String, String>> {
    let pages =
        dil_flow::docs::reference().into_iter().map(|(file, text)| (format!("{REFERENCE}/{file}"), text));
    let mut wanted: BTreeMap<String, String> = pages.collect();
    let schema = serde_json::to_string_pretty(&dil_flow::json_schema())?;
    wanted.insert(SCHEMA.to_owned(), format!("{schema}\n"));
    Ok(wanted)
}

/// Writes all of them and removes pages that are no longer wanted.
pub(crate) fn write(root: &Path) -> io::Result<Vec<Finding>> {
    let wanted = wanted()?;
    fs::create_dir_all(root.join(REFERENCE))?;
    for (path, text) in &wanted {
        fs::write(root.join(path), text)?;
    }
    for page in source::files(root, REFERENCE, &[".md"])? {
        if !wanted.contains_key(&page.path) {
            fs::remove_file(root.join(page.path))?;
        }
    }
    Ok(Vec::new())
}

/// Finds what differs from what would be written.
pub(crate) fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let wanted = wanted()?;
    let mut there = source::files(root, REFERENCE, &[".md"])?;
    there.extend(source::file(root, SCHEMA)?);
    let there = there.into_iter().map(|source| (source.path, source.text)).collect();
    Ok(differences(&wanted, &there))
}

fn differences(wanted: &BTreeMap<String, String>, there: &BTreeMap<String, String>) -> Vec<Finding> {
    const REMEDY: &str = "run `cargo xtask docs` and commit what it writes";
    let mut findings = Vec::new();
    for (path, text) in wanted {
        match there.get(path) {
            None => findings.push(Finding::new(path, 1, format!("the file is missing; {REMEDY}"))),
            Some(other) if other != text => {
                let equal = text.lines().zip(other.lines()).take_while(|(one, other)| one == other).count();
                findings.push(Finding::new(path, equal + 1, format!("differs from the types; {REMEDY}")));
            }
            Some(_) => {}
        }
    }
    for path in there.keys().filter(|path| !wanted.contains_key(*path)) {
        findings.push(Finding::new(path, 1, format!("no type has this page; {REMEDY}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::differences;

    #[test]
    fn tells_the_first_line_that_differs() {
        let map = |files: &[(&str, &str)]| -> BTreeMap<String, String> {
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        let wanted = map(&[("a", "1\n2\n3\n"), ("b", "x\n"), ("c", "same\n")]);
        let there = map(&[("a", "1\nzwei\n3\n"), ("c", "same\n"), ("old", "")]);
        let places: Vec<(String, usize)> =
            differences(&wanted, &there).into_iter().map(|one| (one.file, one.line)).collect();
        assert_eq!(places, [("a".to_owned(), 2), ("b".to_owned(), 1), ("old".to_owned(), 1)]);
    }
}
