//! The `Link` header (RFC 8288).

/// One link of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    target: String,
    relations: Vec<String>,
    /// Whether it starts from another page than the one that was answered.
    anchored: bool,
}

/// The target of the first link of that relation.
///
/// # Errors
/// What is wrong with the header: a link that cannot be read might be the one that goes on.
pub(super) fn target_of(header: &str, relation: &str) -> Result<Option<String>, String> {
    let links = parse(header)?;
    let found = links
        .into_iter()
        .find(|link| !link.anchored && link.relations.iter().any(|name| name.eq_ignore_ascii_case(relation)));
    Ok(found.map(|link| link.target))
}

fn parse(header: &str) -> Result<Vec<Link>, String> {
    let mut reader = Reader { rest: header };
    let mut links = Vec::new();
    loop {
        reader.skip(|c| c == ' ' || c == '\t' || c == ',');
        if reader.rest.is_empty() {
            return Ok(links);
        }
        links.push(reader.link()?);
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(unwanted);
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip(|c| c == ' ' || c == '\t');
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn link(&mut self) -> Result<Link, String> {
        if !self.take('<') {
            return Err("a link does not start with `<`".to_owned());
        }
        let (target, rest) = self.rest.split_once('>').ok_or("a link has no `>`")?;
        self.rest = rest;
        let mut link = Link { target: target.trim().to_owned(), relations: Vec::new(), anchored: false };
        while self.take(';') {
            let name = self.token();
            let value = if self.take('=') { self.value()? } else { String::new() };
            match name.to_ascii_lowercase().as_str() {
                // Only the first `rel` counts.
                "rel" if link.relations.is_empty() => {
                    link.relations = value.split_ascii_whitespace().map(str::to_owned).collect();
                }
                "anchor" => link.anchored = true,
                _ => {}
            }
        }
        self.skip(|c| c == ' ' || c == '\t');
        if self.rest.is_empty() || self.rest.starts_with(',') {
            Ok(link)
        } else {
            Err("a link is not followed by `,` or `;`".to_owned())
        }
    }

    fn token(&mut self) -> &'a str {
        self.skip(|c| c == ' ' || c == '\t');
        let end = self.rest.find([' ', '\t', '=', ';', ',', '"']).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }

    fn value(&mut self) -> Result<String, String> {
        if !self.take('"') {
            return Ok(self.token().to_owned());
        }
        let mut value = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(value);
                }
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        Err("a quoted value has no end".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(header: &str, expect: Result<Option<&str>, ()>) {
        let found = target_of(header, "next").map_err(|_| ());
        assert_eq!(found, expect.map(|target| target.map(str::to_owned)), "{header}");
    }

    #[test]
    fn finds_the_relation_among_several_links() {
        check(
            r#"<https://h/?page=1>; rel="prev", <https://h/?page=3>; rel="next""#,
            Ok(Some("https://h/?page=3")),
        );
        check("</b>; rel=next", Ok(Some("/b")));
        check(r#"<a>; title="x, <z>; rel=\"next\""; rel="last Next", <c>; rel=next"#, Ok(Some("a")));
        check(" , <a> ; REL = next ,", Ok(Some("a")));
        check("<a,b;c>; rel=next", Ok(Some("a,b;c")));
    }

    #[test]
    fn tells_the_end() {
        check("", Ok(None));
        check(r#"<a>; rel="prev"; rel="next""#, Ok(None));
        check(r##"<a>; rel="next"; anchor="#x""##, Ok(None));
        check(r#"<a>; rel="nextish""#, Ok(None));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for header in ["https://h/?page=2; rel=next", "<a; rel=next", r#"<a>; rel="next"#, "<a> rel=next"] {
            check(header, Err(()));
        }
    }

    proptest! {
        #[test]
        fn never_panics(header in "[<>;,=\"\\\\ a-zé]{0,40}") {
            let _ = target_of(&header, "next");
        }

        #[test]
        fn finds_any_target(before in "[a-z/?=&;,]{1,12}", target in "[a-z/?=&;,]{1,12}") {
            let header = format!("<{before}>; rel=prev; title=\"a,b\", <{target}>; rel=\"x next\"");
            prop_assert_eq!(target_of(&header, "next"), Ok(Some(target)));
        }
    }
}
