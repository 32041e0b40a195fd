//! Secrets: looked up where they are used, masked everywhere else.

use std::fmt;

/// A secret text. It prints as `***`; only [`Secret::expose`] gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where `${secret:NAME}` finds its text.
pub trait SecretStore: Send + Sync {
    /// The secret of that name, or an error of kind `Secret` that lists the places that were tried.
    fn secret(&self, name: &str) -> crate::Result<Secret>;
}

/// A store that answers every name with `***`: for plans and messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Masked;

impl SecretStore for Masked {
    fn secret(&self, _name: &str) -> crate::Result<Secret> {
        Ok(Secret::new("***"))
    }
}
