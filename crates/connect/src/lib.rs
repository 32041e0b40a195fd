//! Places that rows come from and go to, with everything that is about the place and not about its bytes: requests,
//! paging, retries, limits, staging.
//!
//! Formats are not here: a source gives bytes, a destination takes them.

pub mod files;
pub mod http;
pub mod limit;
pub mod local;
