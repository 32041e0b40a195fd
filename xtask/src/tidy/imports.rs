//! Which crate may depend on which.

use std::fs;
use std::io;
use std::path::Path;

use crate::finding::Finding;
use crate::source::{self, Source};

/// What each crate may import of ours. `xtask` is free, and so are only tests with `testkit`.
const RULES: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("flow", &["model"]),
    ("plan", &["model"]),
    ("format", &["model"]),
    ("convert", &["model"]),
    ("connect", &["model"]),
    ("engine", &["model", "flow", "plan", "format", "convert", "connect"]),
    ("cli", &["model", "flow", "engine"]),
    ("testkit", &["model"]),
];

/// Crates that only `model` names, so that a version moves in one line; and who else may name a relative of theirs.
const DATA_PLANE: [&str; 3] = ["arrow", "parquet", "object_store"];
const RELATIVES: [(&str, &str); 1] = [("arrow-avro", "format")];

pub(crate) fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut folders = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            folders.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    folders.sort();
    for name in folders {
        if let Some(manifest) = source::file(root, &format!("crates/{name}/Cargo.toml"))? {
            findings.extend(manifest_findings(&name, &manifest));
        }
    }
    if let Some(manifest) = source::file(root, "xtask/Cargo.toml")? {
        findings.extend(data_plane(&manifest, "xtask", &dependencies(&manifest.text)));
    }
    Ok(findings)
}

fn manifest_findings(name: &str, manifest: &Source) -> Vec<Finding> {
    let Some((_, allowed)) = RULES.iter().find(|(crate_name, _)| *crate_name == name) else {
        let message = format!("the crate `{name}` has no rule; add one to xtask/src/tidy/imports.rs");
        return vec![Finding::new(&manifest.path, 1, message)];
    };
    let dependencies = dependencies(&manifest.text);
    let mut findings = data_plane(manifest, name, &dependencies);
    for Dependency { name: dependency, line, for_tests } in &dependencies {
        let Some(ours) = dependency.strip_prefix("dil-") else { continue };
        let test_only = *for_tests && ours == "testkit" && name != "testkit";
        if !allowed.contains(&ours) && !test_only {
            let message = match *allowed {
                [] => format!("`{name}` imports `{ours}`; it may import none of our crates"),
                allowed => format!("`{name}` imports `{ours}`; it may import {}", allowed.join(", ")),
            };
            findings.push(Finding::new(&manifest.path, *line, message));
        }
    }
    findings
}

fn data_plane(manifest: &Source, name: &str, dependencies: &[Dependency]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Dependency { name: dependency, line, .. } in dependencies {
        let kin =
            DATA_PLANE.iter().any(|one| dependency == one || dependency.starts_with(&format!("{one}-")));
        let excepted = RELATIVES.contains(&(dependency.as_str(), name));
        if kin && name != "model" && !excepted {
            let message = format!(
                "`{name}` names `{dependency}`; go through `dil_model`, which re-exports the data plane"
            );
            findings.push(Finding::new(&manifest.path, *line, message));
        }
    }
    findings
}

/// A line of a manifest that names a dependency.
struct Dependency {
    name: String,
    line: usize,
    for_tests: bool,
}

/// The dependencies of a manifest: normal ones, those of tests and of build scripts, with and without a target.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut out = Vec::new();
    let mut section = "";
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            // `[dependencies.arrow]` names one in its header.
            if let Some((_, name)) = section.split_once("dependencies.") {
                let name = name.trim_matches('"').to_owned();
                out.push(Dependency {
                    name,
                    line: index + 1,
                    for_tests: section.contains("dev-dependencies"),
                });
            }
        } else if section.ends_with("dependencies") && !line.starts_with('#') {
            let name: String =
                line.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
            if !name.is_empty() {
                out.push(Dependency {
                    name,
                    line: index + 1,
                    for_tests: section.ends_with("dev-dependencies"),
                });
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::manifest_findings;
    use crate::source::Source;

    fn lines(name: &str, text: &str) -> Vec<usize> {
        let manifest = Source { path: "Cargo.toml".to_owned(), text: text.to_owned() };
        manifest_findings(name, &manifest).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_crate_imports_only_what_its_rule_names() {
        let text = "[package]\nname = \"dil-flow\"\n[dependencies]\ndil-model.workspace = true\ndil-engine = { path = \"../engine\" }\n";
        assert_eq!(lines("flow", text), [5]);
        assert_eq!(lines("cli", text), Vec::<usize>::new());
        assert_eq!(lines("model", text), [4, 5]);
        assert_eq!(lines("brand-new", text), [1]);
    }

    #[test]
    fn testkit_is_for_tests() {
        assert_eq!(
            lines("connect", "[dev-dependencies]\ndil-testkit.workspace = true\n"),
            Vec::<usize>::new()
        );
        assert_eq!(lines("connect", "[dependencies]\ndil-testkit.workspace = true\n"), [2]);
    }

    #[test]
    fn only_the_model_names_the_data_plane() {
        let text = "[dependencies]\n# arrow is named here\narrow.workspace = true\narrow-avro.workspace = true\n[dev-dependencies.parquet]\nversion = \"1\"\n";
        assert_eq!(lines("model", text), Vec::<usize>::new());
        assert_eq!(lines("format", text), [3, 5]);
        assert_eq!(lines("engine", text), [3, 4, 5]);
    }
}
