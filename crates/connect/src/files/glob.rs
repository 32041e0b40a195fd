//! Which files a path or pattern names.

use std::fs;
use std::path::{Path, PathBuf};

use dil_model::config::RowsMissing;
use dil_model::secret::SecretStore;
use dil_model::template::{Escape, Template, Variables};
use dil_model::{Error, ErrorKind, Result};
use glob::{MatchOptions, Pattern};

/// The pattern that a template of a path gives.
pub(super) fn pattern(
    path: &str,
    variables: &Variables,
    secrets: &std::sync::Arc<dyn SecretStore>,
) -> Result<String> {
    let wrong = |cause: String| Error::new(ErrorKind::Config, "files/path", cause);
    let template = Template::parse(path).map_err(|cause| wrong(format!("`path`: {cause}")))?;
    template
        .render(variables, Escape::FileName, secrets)?
        .ok_or_else(|| wrong(format!("`path: {path}` uses a variable that is not defined here")))
}

/// The files that a pattern names, in no order.
pub(super) async fn list(pattern: &str, no_match: RowsMissing) -> Result<Vec<String>> {
    let wanted = pattern.to_owned();
    let paths = super::blocking(move || matches(&wanted)).await??;
    if paths.is_empty() && no_match == RowsMissing::Fail {
        return Err(Error::new(ErrorKind::Content, "files/no-match", format!("no file matches {pattern}"))
            .hint("check the path, which starts at the current folder unless it starts with /; if there may be none, set `no_match: empty`"));
    }
    Ok(paths)
}

/// The files that a path or pattern names.
fn matches(pattern: &str) -> Result<Vec<String>> {
    let plain = Path::new(pattern);
    // A name that is there is meant as it is, brackets and all.
    if plain.is_dir() {
        return Err(Error::new(ErrorKind::Config, "files/folder", format!("{pattern} is a folder"))
            .hint(format!("read the files in it with `path: {}/*`", pattern.trim_end_matches('/'))));
    }
    if plain.exists() || Pattern::escape(pattern) == pattern {
        return Ok(if plain.exists() { vec![pattern.to_owned()] } else { Vec::new() });
    }
    // Components from the first wildcard on; those before it are meant as they are.
    let searched = || {
        plain
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .skip_while(|part| !has_wildcard(part))
    };
    let dotted: Vec<Pattern> =
        searched().filter(|part| part.starts_with('.')).filter_map(|part| Pattern::new(&part).ok()).collect();
    let fixed = plain.components().count() - searched().count();
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        // The crate passes hidden entries over even if the pattern starts with a dot; then we sort them out ourselves.
        require_literal_leading_dot: dotted.is_empty(),
    };
    let found = glob::glob_with(pattern, options).map_err(|cause| {
        Error::new(ErrorKind::Config, "files/pattern", format!("`path: {pattern}` is not a pattern: {cause}"))
    })?;
    let mut paths = Vec::new();
    for path in found {
        let path = path.map_err(|cause| Error::storage("listing", cause.path(), cause.error()))?;
        let found = path.components().skip(fixed).map(|part| part.as_os_str().to_string_lossy());
        let is_passed_over =
            |part: &str| part.starts_with('.') && !dotted.iter().any(|dotted| dotted.matches(part));
        if found.into_iter().any(|part| is_passed_over(&part)) {
            continue;
        }
        if fs::metadata(&path).map_err(|cause| Error::storage("looking at", &path, &cause))?.is_file() {
            paths.push(named(path)?);
        }
    }
    Ok(paths)
}

fn has_wildcard(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

fn named(path: PathBuf) -> Result<String> {
    path.into_os_string().into_string().map_err(|name| {
        let message = format!("the file name {} is not UTF-8", name.to_string_lossy());
        Error::new(ErrorKind::Storage, "files/name", message).hint("rename the file")
    })
}
