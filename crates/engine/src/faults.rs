//! Stops the process at a durable boundary, for the kill sweep. Only debug builds can.
//!
//! `DIL_FAULT=publish.rename:before:2` kills the process just before the second crossing of that boundary, as SIGKILL would
//! in that instant. `DIL_FAULT_LOG=FILE` appends the name of each boundary that is crossed, one a line.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use dil_model::boundary::{Side, install_hook};

struct Plan {
    fault: Option<(String, Side, u64)>,
    log: Option<std::path::PathBuf>,
    crossings: Mutex<HashMap<&'static str, u64>>,
}

static PLAN: LazyLock<Plan> = LazyLock::new(|| Plan {
    fault: std::env::var("DIL_FAULT").ok().and_then(|text| parse(&text)),
    log: std::env::var_os("DIL_FAULT_LOG").map(Into::into),
    crossings: Mutex::default(),
});

fn parse(text: &str) -> Option<(String, Side, u64)> {
    let mut parts = text.split(':');
    let name = parts.next()?.to_owned();
    let side = match parts.next()? {
        "before" => Side::Before,
        "after" => Side::After,
        _ => return None,
    };
    Some((name, side, parts.next()?.parse().ok()?))
}

/// Makes this process obey the two variables, if it is a debug build and one of them is set.
pub fn install() {
    if cfg!(debug_assertions) && (PLAN.fault.is_some() || PLAN.log.is_some()) {
        install_hook(cross);
    }
}

fn cross(name: &'static str, side: Side) {
    let count = {
        let mut crossings = PLAN.crossings.lock().unwrap_or_else(PoisonError::into_inner);
        let count = crossings.entry(name).or_default();
        if side == Side::Before {
            *count += 1;
        }
        *count
    };
    if let (Some(path), Side::Before) = (&PLAN.log, side) {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Ok(mut file) = file {
            let _ = file.write_all(format!("{name}\n").as_bytes());
        }
    }
    let Some((fault, at, number)) = &PLAN.fault else { return };
    if fault == name && *at == side && *number == count {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way; nothing more of this thread may happen.
        loop {
            std::thread::park();
        }
    }
}
