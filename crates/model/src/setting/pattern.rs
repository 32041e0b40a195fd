//! Regular expressions.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// A regular expression that matches whole texts: `active|paused` does not match `inactive`. A dot matches line ends too.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// What is wrong with the text, for a user.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the regular expression is empty; write one, or leave the key out".to_owned());
        }
        let compile = |source: &str| RegexBuilder::new(source).dot_matches_new_line(true).build();
        // Compiled alone first: `a)|(b` must not become valid by what is put around it.
        let whole = compile(text).and_then(|_| compile(&format!(r"\A(?:{text})\z")));
        let regex = whole.map_err(|cause| {
            // The library draws the expression over several lines; the last one says what is wrong.
            let drawn = cause.to_string();
            let what = drawn.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!(
                "`{text}` is not a regular expression: {what}; \
                 it must match the whole text, and `\\` before a special character takes it as it is"
            )
        })?;
        Ok(Self { source: text.to_owned(), regex })
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

super::spelt!(
    Pattern,
    "Pattern",
    "A regular expression; it must match the whole text.",
    r".",
    ["active|paused", "id_[0-9]+"]
);

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn matches_whole_texts() {
        let matches = |pattern: &str, text: &str| Pattern::parse(pattern).unwrap().matches(text);
        assert!(matches("active|paused", "paused") && !matches("active|paused", "inactive"));
        assert!(matches("(?i)a|b", "B") && !matches("(?i)a|b", "ab"));
        assert!(matches(".+", "two\nlines") && !matches("active", "active\n"));
    }

    #[test]
    fn stands_on_its_own() {
        for text in ["a)|(b", "(", "", "(?x)a # the rest"] {
            assert!(Pattern::parse(text).is_err_and(|message| message.contains("; ")), "{text}");
        }
    }
}
