//! The lease: one run of a flow at a time, and no change by one that slept past its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dil_model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::db::{Session, Sql, params};
use super::{Ledger, Synced};

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    host: String,
    /// This boot of the machine and this space of process numbers: two containers may share a host name.
    #[serde(default)]
    space: Option<String>,
    pid: u32,
    /// When the process started, in the kernel's own count: tells a process from a later one with the same number.
    started: Option<u64>,
}

/// A lease that this process took.
#[derive(Debug, Clone)]
pub(crate) struct LeaseGuard {
    flow: String,
    pub(crate) epoch: u64,
    holder: String,
    length: Duration,
    lost: Arc<AtomicBool>,
}

impl Ledger {
    /// Takes the lease on a flow.
    ///
    /// A lease is free when it has expired, or when its holder ran on this machine and is dead.
    ///
    /// # Errors
    /// `Lease` if another run holds it.
    pub(crate) fn take_lease(&self, flow: &str, length: Duration) -> Result<LeaseGuard> {
        let own = Holder::own();
        let holder = serde_json::to_string(&own).unwrap_or_default();
        let taken = self.transaction("lease.take", Synced::Later, |session| {
            // The row is there from the first time on, so that there is something to lock.
            session.execute(
                "INSERT INTO lease (flow, epoch, holder, expires_ms) VALUES (?1, 0, '', 0)
                 ON CONFLICT (flow) DO UPDATE SET flow = ?1",
                &params![flow],
            )?;
            let lock = session.dialect().for_update();
            let query = format!("SELECT epoch, holder, expires_ms FROM lease WHERE flow = ?1{lock}");
            let (epoch, other, expires): (u64, String, i64) =
                session.one(&query, &params![flow], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let now = now_ms(session)?;
            if expires > now && !is_dead(&other, &own) {
                return Ok(Err((other, expires - now)));
            }
            session.execute(
                "UPDATE lease SET epoch = ?2, holder = ?3, expires_ms = ?4 WHERE flow = ?1",
                &params![flow, epoch + 1, holder, now + millis(length)],
            )?;
            Ok(Ok(epoch + 1))
        })?;
        match taken {
            Ok(epoch) => {
                let lost = Arc::new(AtomicBool::new(false));
                Ok(LeaseGuard { flow: flow.to_owned(), epoch, holder, length, lost })
            }
            Err((other, left)) => Err(held_by(flow, &other, left)),
        }
    }

    /// Lengthens the lease by its full time from now.
    ///
    /// # Errors
    /// `Lease` if another run took it.
    pub(crate) fn renew_lease(&self, lease: &LeaseGuard) -> Result<()> {
        let changed = self.transaction("lease.renew", Synced::Later, |session| {
            let expires = now_ms(session)? + millis(lease.length);
            session.execute(
                "UPDATE lease SET expires_ms = ?3 WHERE flow = ?1 AND epoch = ?2",
                &params![lease.flow, lease.epoch, expires],
            )
        })?;
        if changed == 0 { Err(lease.lost()) } else { Ok(()) }
    }

    /// Gives the lease back; the epoch stays.
    pub(crate) fn release_lease(&self, lease: &LeaseGuard) -> Result<()> {
        self.transaction("lease.release", Synced::Later, |session| {
            session.execute(
                "UPDATE lease SET expires_ms = 0 WHERE flow = ?1 AND epoch = ?2 AND holder = ?3",
                &params![lease.flow, lease.epoch, lease.holder],
            )
        })?;
        Ok(())
    }
}

impl LeaseGuard {
    /// The flow that it is about. While the ledger has it under our epoch, an expired lease that nobody took is still ours.
    pub(super) fn flow(&self) -> &str {
        &self.flow
    }

    /// The error of one who lost it; remembers that it is lost.
    pub(crate) fn lost(&self) -> Error {
        self.lost.store(true, Ordering::SeqCst);
        Error::new(
            ErrorKind::Lease,
            "lease/lost",
            format!("another run took over flow `{}` while this one was paused", self.flow),
        )
        .hint("nothing was published twice; look at the other run with `dil runs`")
    }

    /// Whether it turned out to be lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// How often to renew it.
    pub(crate) fn renewal(&self) -> Duration {
        self.length / 3
    }
}

impl Holder {
    fn own() -> Self {
        let pid = std::process::id();
        Self { host: host(), space: space(), pid, started: started(pid) }
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn space() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let pids = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), pids.display()))
}

/// Field 22 of `/proc/PID/stat` (proc(5)), counted behind the command's closing parenthesis.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether the holder ran on this machine and is no more. Where that cannot be told, it counts as alive.
fn is_dead(holder: &str, own: &Holder) -> bool {
    let Ok(holder) = serde_json::from_str::<Holder>(holder) else { return false };
    let same_space = holder.space.is_some() && holder.space == own.space;
    if holder.host != own.host || !same_space || holder.started.is_none() || own.started.is_none() {
        return false;
    }
    started(holder.pid) != holder.started || is_zombie(holder.pid)
}

fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

fn held_by(flow: &str, holder: &str, left_ms: i64) -> Error {
    let who = serde_json::from_str::<Holder>(holder).map_or_else(
        |_| "another process".to_owned(),
        |holder| format!("process {} on {}", holder.pid, holder.host),
    );
    let seconds = (left_ms + 999) / 1000;
    Error::new(ErrorKind::Lease, "lease/held", format!("flow `{flow}` is being run by {who}")).hint(format!(
        "wait for it to end, or stop it; if that machine is gone, its lease ends in {seconds} s at the latest"
    ))
}

/// The present by the clock that all who may take the lease go by.
fn now_ms(session: &Session<'_>) -> Sql<i64> {
    match session.dialect().now_ms() {
        Some(query) => session.one(query, &[], |row| row.get(0)),
        None => Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
