//! The demo's flow file, and the secret it uses.

use std::sync::Arc;

use dil_model::secret::{Secret, SecretStore};
use dil_model::{Error, ErrorKind, Result};

use super::service::TOKEN;

/// The flow's secret.
pub(super) const SECRET: &str = "WEATHER_TOKEN";

/// The name of the flow file in the demo's folder.
pub(super) const FILE: &str = "flow.yaml";

/// The folder of the rows, below the demo's.
pub(super) const ROWS: &str = "observations";

const FLOW: &str = include_str!("flow.yaml");

/// The flow file for a service at `url`.
pub(super) fn text(url: &str) -> String {
    FLOW.replace("SERVICE", url)
}

/// The flow without its comments, for showing it.
pub(super) fn in_short(text: &str) -> String {
    let line = |line: &str| line.split_once(" #").map_or(line, |(before, _)| before).trim_end().to_owned();
    let lines = text.lines().map(line).filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

/// Gives the demo's one secret, so that nobody has to set it.
pub(super) struct DemoSecrets;

impl DemoSecrets {
    pub(super) fn shared() -> Arc<dyn SecretStore> {
        Arc::new(Self)
    }
}

impl SecretStore for DemoSecrets {
    fn secret(&self, name: &str) -> Result<Secret> {
        if name == SECRET {
            return Ok(Secret::new(TOKEN));
        }
        Err(Error::new(ErrorKind::Secret, "secret/missing", format!("the demo has no secret `{name}`")))
    }
}
