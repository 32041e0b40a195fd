//! Problems as they are collected, and the place that is being checked.

use dil_model::Problem;

/// The problems found so far.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) problems: Vec<Problem>,
}

impl Report {
    /// A problem with a value.
    pub(crate) fn value(&mut self, code: &str, at: &At, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(at.problem(code, message.into()).hint(hint));
    }

    /// A problem with a key: that it is there, or its name.
    pub(crate) fn key(&mut self, code: &str, at: &At, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(at.problem(code, message.into()).hint(hint).on_key());
    }
}

/// A place in the flow, as the keys that lead to it.
#[derive(Clone, Default)]
pub(crate) struct At(Vec<String>);

impl At {
    pub(crate) fn key(&self, key: &str) -> Self {
        let mut path = self.0.clone();
        path.push(key.to_owned());
        Self(path)
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        self.key(&index.to_string())
    }

    fn problem(&self, code: &str, message: String) -> Problem {
        let path: Vec<&str> = self.0.iter().map(String::as_str).collect();
        Problem::new(code, message, &path)
    }
}
