//! Upkeep of the repository: `cargo xtask tidy`, `docs [--check]`, `boundaries`.

mod boundaries;
mod docs;
mod finding;
mod source;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::finding::Finding;

const USAGE: &str = "\
usage: cargo xtask <verb>

  tidy            checks lengths, imports between crates, paths in docs, names of durable boundaries, left-overs
  docs            writes docs/reference/*.md and docs/flow.schema.json
  docs --check    fails if they are not what `docs` would write
  boundaries      prints the names of the durable boundaries, one a line";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Asked when it runs: a target folder shared by several clones may hold the one that another clone built.
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| "xtask".into()));
    let root = package.parent().unwrap_or(Path::new("."));
    let findings = match arguments.as_slice() {
        ["tidy"] => tidy::check(root),
        ["docs"] => docs::write(root),
        ["docs", "--check"] => docs::check(root),
        ["boundaries"] => boundaries::print(root),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match findings {
        Ok(findings) => report(&findings),
        Err(cause) => {
            eprintln!("xtask: {cause}");
            ExitCode::from(2)
        }
    }
}

fn report(findings: &[Finding]) -> ExitCode {
    for finding in findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
