//! The one wrapper around every durable boundary: fsync, rename, state transaction, publish step.
//!
//! A crash test must be able to stop the process just before and just after each of them, and a new one must not
//! escape it. So each is written `durable("publish.rename", || ...)`; the kill sweep learns the names by running.

use std::sync::OnceLock;

/// Which side of a durable boundary the process stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nothing of the operation has happened yet.
    Before,
    /// The operation has returned, with success or not.
    After,
}

/// What is told of each boundary that is crossed.
pub type Hook = fn(name: &'static str, side: Side);

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Installs the hook of this process; later calls change nothing.
pub fn install_hook(hook: Hook) {
    let _ = HOOK.set(hook);
}

/// Runs `operation`, which makes something durable, under a name that is unique in the source.
pub fn durable<T>(name: &'static str, operation: impl FnOnce() -> T) -> T {
    let hook = HOOK.get();
    if let Some(hook) = hook {
        hook(name, Side::Before);
    }
    let result = operation();
    if let Some(hook) = hook {
        hook(name, Side::After);
    }
    result
}
