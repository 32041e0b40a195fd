//! Where units run: in this process, or in child processes that speak the worker protocol ([`wire`]).
//!
//! Both run the same function; what differs is how it reaches its coordinator.

mod children;
mod wire;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;

use dil_connect::http::Clients;
use dil_connect::limit::Limiter;
use dil_model::Result;
use dil_model::component::Permits;
use dil_model::config::{Connection, Flow};
use dil_model::unit::{UnitReport, UnitSpec};

use crate::run::unit::{Port, UnitContext, run_unit};
use crate::settings::{RunOptions, Settings, Stop};
pub use worker::work;

/// Runs units.
pub(crate) enum Executor {
    /// In this process.
    Local {
        permits: Arc<dyn Permits>,
        secrets: Arc<dyn dil_model::secret::SecretStore>,
        clients: Clients,
        halt: Stop,
    },
    /// In child processes.
    Children(children::Pool),
}

impl Executor {
    /// Starts what units of this flow run in.
    ///
    /// # Errors
    /// `Config` if a worker cannot be started.
    pub(crate) fn start(flow: &Flow, settings: &Settings, options: &RunOptions, halt: Stop) -> Result<Self> {
        let permits: Arc<dyn Permits> = Arc::new(limiter(flow));
        if options.workers > 0 {
            return children::Pool::start(options, permits, halt).map(Self::Children);
        }
        Ok(Self::Local { permits, secrets: Arc::clone(&settings.secrets), clients: Clients::new(), halt })
    }

    /// Runs one unit to its end.
    pub(crate) async fn run(&self, spec: UnitSpec, port: Arc<dyn Port>) -> UnitReport {
        match self {
            Self::Local { permits, secrets, clients, halt } => {
                let context = UnitContext {
                    port,
                    permits: Arc::clone(permits),
                    secrets: Arc::clone(secrets),
                    clients: clients.clone(),
                    stop: halt.clone(),
                };
                run_unit(spec, context).await
            }
            Self::Children(pool) => pool.run(spec, port).await,
        }
    }
}

/// The one limiter of a run.
pub(crate) fn limiter(flow: &Flow) -> Limiter {
    let limits: HashMap<String, dil_model::config::Limit> = flow
        .connections
        .iter()
        .map(|(name, connection)| {
            let Connection::Http(http) = connection;
            (name.clone(), http.limit.clone())
        })
        .collect();
    Limiter::new(limits)
}
