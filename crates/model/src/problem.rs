//! Something a user can fix in a flow file.

use serde::{Deserialize, Serialize};

/// One thing that is wrong with a flow file.
///
/// `path` names the place as keys from the root (`["stages", "orders", "read"]`); who holds the file's text turns it
/// into line and column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `area/slug`.
    pub code: String,
    /// What is wrong, lowercase, no full stop.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The keys from the root down to the place.
    pub path: Vec<String>,
    /// Whether the key itself is meant, rather than its value.
    pub on_key: bool,
}

impl Problem {
    /// A problem with the value at `path`.
    pub fn new(code: impl Into<String>, message: impl Into<String>, path: &[&str]) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            hint: None,
            path: path.iter().map(ToString::to_string).collect(),
            on_key: false,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Points at the key instead of its value.
    #[must_use]
    pub fn on_key(mut self) -> Self {
        self.on_key = true;
        self
    }
}
