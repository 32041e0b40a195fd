//! Paths in the documentation that lead nowhere.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::finding::Finding;
use crate::source::{self, Source};

const PAGES: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"];
/// Folders whose paths, in backticks, are checked wherever they are named.
const ROOTED: [&str; 6] = ["crates/", "xtask/", "docs/", "scripts/", "benches/", "tests/"];

pub(crate) fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let mut pages = source::files(root, "docs", &[".md"])?;
    for name in PAGES {
        pages.extend(source::file(root, name)?);
    }
    let exists = |path: &str| root.join(path).exists();
    Ok(pages.iter().flat_map(|page| page_findings(page, &exists)).collect())
}

fn page_findings(page: &Source, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in page.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let linked = links.filter_map(|link| target(&page.path, link));
        let quoted = line.split('`').skip(1).step_by(2).filter_map(rooted);
        for path in linked.chain(quoted).filter(|path| !exists(path)) {
            findings.push(Finding::new(&page.path, index + 1, format!("`{path}` does not exist")));
        }
    }
    findings
}

/// What a relative link leads to, from the repository's root.
fn target(page: &str, link: &str) -> Option<String> {
    let path = link.split('#').next().filter(|path| !path.is_empty())?;
    let elsewhere = path.contains("://") || path.starts_with("mailto:");
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    (!elsewhere).then(|| normal(&folder.join(path)))
}

/// A path of the repository in backticks; patterns and placeholders are none.
fn rooted(quoted: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let path = quoted.split([':', '#']).next().unwrap_or_default();
    let is_path = ROOTED.iter().any(|folder| path.starts_with(folder)) && path.chars().all(plain);
    is_path.then(|| path.to_owned())
}

fn normal(path: &Path) -> String {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::page_findings;
    use crate::source::Source;

    fn check(path: &str, text: &str, expect: &[(usize, &str)]) {
        let page = Source { path: path.to_owned(), text: text.to_owned() };
        let there = ["README.md", "docs/a.md", "crates/flow/src/lib.rs"];
        let findings = page_findings(&page, &|path| there.contains(&path));
        let found: Vec<(usize, String)> = findings.into_iter().map(|one| (one.line, one.message)).collect();
        let expect: Vec<(usize, String)> =
            expect.iter().map(|(line, path)| (*line, format!("`{path}` does not exist"))).collect();
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn finds_links_that_lead_nowhere() {
        check(
            "docs/b.md",
            "[a](a.md#x) [r](../README.md)\n[gone](c.md) [up](../c.md)",
            &[(2, "docs/c.md"), (2, "c.md")],
        );
        check("README.md", "[a](docs/a.md) [web](https://example.com/x) [here](#there)", &[]);
    }

    #[test]
    fn finds_paths_in_backticks() {
        check(
            "README.md",
            "`crates/flow/src/lib.rs:12` and `crates/flow/src/gone.rs`",
            &[(1, "crates/flow/src/gone.rs")],
        );
        check("README.md", "`crates/*/Cargo.toml`, `crates/<name>`, `cargo run crates/x`", &[]);
        check("README.md", "```\n[gone](gone.md) `crates/gone`\n```\n", &[]);
    }
}
