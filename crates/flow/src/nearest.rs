//! The known name that a misspelt one was probably meant to be.

/// The nearest of `known`, if one is near enough to be worth naming.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(name);
    let distances = known.into_iter().map(|candidate| (distance(&folded, &fold(candidate)), candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    let tolerated = (name.chars().count().max(candidate.chars().count()) / 3).max(1);
    (distance <= tolerated).then_some(candidate)
}

/// "did you mean …", or the list of what there is.
pub(crate) fn suggestion<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    otherwise: &str,
) -> String {
    match nearest(name, known.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => {
            let list = list(known);
            if list.is_empty() { format!("{otherwise}: none") } else { format!("{otherwise}: {list}") }
        }
    }
}

/// Names in backticks, separated by commas; a long list is cut.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 24;
    let names: Vec<&str> = names.into_iter().collect();
    let mut shown: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN_MAX {
        shown.push(format!("and {} more", names.len() - SHOWN_MAX));
    }
    shown.join(", ")
}

fn fold(name: &str) -> String {
    // Long names only come from hostile input, and the distance is quadratic.
    name.chars().take(80).map(|c| if c == '-' || c == ' ' { '_' } else { c.to_ascii_lowercase() }).collect()
}

fn distance(name: &str, candidate: &str) -> usize {
    // One spelling inside the other (`partition` for `partition_by`) is nearer than its length says.
    let contained = name.len() >= 4
        && candidate.len() >= 4
        && (name.starts_with(candidate) || candidate.starts_with(name));
    if contained && name != candidate { 1 } else { strsim::osa_distance(name, candidate) }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_probably_meant() {
        let known = ["format", "files", "partition_by", "rows_at", "http"];
        for (name, meant) in [
            ("formt", "format"),
            ("file", "files"),
            ("Rows-At", "rows_at"),
            ("partition", "partition_by"),
            ("htpp", "http"),
        ] {
            assert_eq!(nearest(name, known), Some(meant), "{name}");
        }
    }

    #[test]
    fn is_silent_when_nothing_is_near() {
        assert_eq!(nearest("banana", ["format", "path"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
