//! The testkit's own tests, and the checks of the workspace that need no engine.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod licences;
mod oracle;
mod servers;
