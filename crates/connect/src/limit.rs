//! The one limiter of all connections: how many requests start in any stretch of time, and how many are under way.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dil_model::component::{Permit, Permits};
use dil_model::config::Limit;
use dil_model::setting::Rate;
use dil_model::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A window is kept this part longer than asked for: requests take unequally long to reach the server, and what it counts is
/// arrivals.
const MARGIN_PART: u32 = 50;

/// The least that a window is kept longer.
const MARGIN_MIN: Duration = Duration::from_millis(10);

/// Keeps the limits of all connections for every unit that shares it. Requests of one connection start in the order in
/// which they asked.
pub struct Limiter {
    gates: HashMap<String, Gate>,
}

/// What stands before one connection.
struct Gate {
    under_way: Option<Arc<Semaphore>>,
    /// Whoever holds it is next. The lock is fair, so nobody overtakes.
    turnstile: tokio::sync::Mutex<Option<Window>>,
    quiet_until: Mutex<Option<Instant>>,
}

impl Limiter {
    /// A limiter for these connections; any other connection is not limited.
    pub fn new(limits: impl IntoIterator<Item = (String, Limit)>) -> Self {
        Self { gates: limits.into_iter().map(|(name, limit)| (name, Gate::new(&limit))).collect() }
    }
}

impl Gate {
    fn new(limit: &Limit) -> Self {
        let under_way = limit.concurrent.map(|most| {
            let most = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
        });
        Self {
            under_way,
            turnstile: tokio::sync::Mutex::new(limit.requests.map(Window::new)),
            quiet_until: Mutex::new(None),
        }
    }

    async fn pass(&self) -> Result<Permit> {
        let under_way = match &self.under_way {
            None => None,
            Some(semaphore) => Some(Arc::clone(semaphore).acquire_owned().await.map_err(|_| {
                Error::new(ErrorKind::Internal, "internal/limiter", "the limiter was closed")
            })?),
        };
        let mut window = self.turnstile.lock().await;
        loop {
            let now = Instant::now();
            let free = window.as_ref().map_or(now, |window| window.next_start(now));
            // Read again after every wait: a pause may have been asked for meanwhile.
            let start = self.quiet_until().map_or(free, |quiet| quiet.max(free));
            if start <= now {
                if let Some(window) = window.as_mut() {
                    window.start(now);
                }
                return Ok(Permit::new(move || drop(under_way)));
            }
            tokio::time::sleep_until(start).await;
        }
    }

    fn quiet_until(&self) -> Option<Instant> {
        *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(&self, wait: Duration) {
        // A wait that no clock can hold comes from a server that does not mean it.
        let Some(until) = Instant::now().checked_add(wait) else { return };
        let mut quiet = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = Some(quiet.map_or(until, |earlier| earlier.max(until)));
    }
}

#[async_trait]
impl Permits for Limiter {
    async fn acquire(&self, connection: &str) -> Result<Permit> {
        match self.gates.get(connection) {
            Some(gate) => gate.pass().await,
            None => Ok(Permit::new(|| {})),
        }
    }

    fn pause(&self, connection: &str, wait: Duration) {
        if let Some(gate) = self.gates.get(connection) {
            gate.pause(wait);
        }
    }
}

/// The last starts of a connection: as many as one window may hold.
struct Window {
    most: usize,
    length: Duration,
    starts: VecDeque<Instant>,
}

impl Window {
    fn new(rate: Rate) -> Self {
        let margin = (rate.per / MARGIN_PART).max(MARGIN_MIN);
        let most = usize::try_from(rate.count.max(1)).unwrap_or(usize::MAX);
        Self { most, length: rate.per + margin, starts: VecDeque::new() }
    }

    /// The first instant from `now` on at which a request may start: a window behind the start that is `most` starts
    /// back.
    fn next_start(&self, now: Instant) -> Instant {
        match self.starts.front() {
            Some(oldest) if self.starts.len() >= self.most => now.max(*oldest + self.length),
            _ => now,
        }
    }

    fn start(&mut self, now: Instant) {
        if self.starts.len() >= self.most {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use proptest::prelude::*;

    use super::*;

    fn limiter(requests: Option<Rate>, concurrent: Option<u32>) -> Arc<Limiter> {
        Arc::new(Limiter::new([("api".to_owned(), Limit { requests, concurrent })]))
    }

    proptest! {
        #[test]
        fn no_window_of_any_position_holds_more_than_the_bound(
            count in 1u32..20,
            asks in prop::collection::vec(0u64..400, 1..200),
        ) {
            let rate = Rate { count, per: Duration::from_secs(1) };
            let mut window = Window::new(rate);
            let mut now = Instant::now();
            let mut starts = Vec::new();
            for milliseconds in asks {
                now += Duration::from_millis(milliseconds);
                now = window.next_start(now);
                window.start(now);
                starts.push(now);
            }
            // A window with too many starts would hold `count` + 1 successive ones.
            for too_many in starts.windows(count as usize + 1) {
                prop_assert!(too_many[count as usize] - too_many[0] >= rate.per);
            }
            prop_assert!(window.starts.len() <= count as usize);
        }
    }

    #[test]
    fn a_request_does_not_wait_longer_than_it_must() {
        let mut window = Window::new(Rate { count: 2, per: Duration::from_secs(1) });
        let begin = Instant::now();
        for milliseconds in [0, 400] {
            let now = begin + Duration::from_millis(milliseconds);
            assert_eq!(window.next_start(now), now);
            window.start(now);
        }
        assert_eq!(
            window.next_start(begin + Duration::from_millis(500)),
            begin + Duration::from_millis(1020)
        );
        assert_eq!(window.next_start(begin + Duration::from_secs(5)), begin + Duration::from_secs(5));
    }

    #[tokio::test]
    async fn no_more_than_the_bound_are_under_way() {
        let limiter = limiter(None, Some(3));
        let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let requests = (0..40).map(|_| {
            let (limiter, now, most) = (Arc::clone(&limiter), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let permit = limiter.acquire("api").await.unwrap();
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            })
        });
        for done in futures::future::join_all(requests).await {
            done.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn starts_of_many_tasks_keep_the_rate_and_the_order() {
        let rate = Rate { count: 4, per: Duration::from_millis(20) };
        let limiter = limiter(Some(rate), None);
        let starts = Arc::new(Mutex::new(Vec::new()));
        let requests: Vec<_> = (0..12)
            .map(|number| {
                let (limiter, starts) = (Arc::clone(&limiter), Arc::clone(&starts));
                async move {
                    let _permit = limiter.acquire("api").await.unwrap();
                    starts.lock().unwrap().push((number, Instant::now()));
                }
            })
            .collect();
        futures::future::join_all(requests).await;
        let starts = starts.lock().unwrap();
        assert!(starts.iter().map(|(number, _)| *number).eq(0..12));
        assert!(starts.windows(5).all(|five| five[4].1 - five[0].1 >= rate.per));
    }

    #[tokio::test]
    async fn a_pause_holds_every_request_back() {
        let limiter = limiter(None, None);
        let asked = Instant::now();
        limiter.pause("api", Duration::from_millis(30));
        limiter.pause("api", Duration::from_millis(1));
        let _permit = limiter.acquire("api").await.unwrap();
        assert!(asked.elapsed() >= Duration::from_millis(30));
    }

    #[tokio::test]
    async fn an_unknown_connection_is_not_limited() {
        let limiter = limiter(Some(Rate { count: 1, per: Duration::from_secs(3600) }), Some(1));
        limiter.pause("other", Duration::from_secs(3600));
        let permits = futures::future::join_all((0..100).map(|_| limiter.acquire("other"))).await;
        assert!(permits.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn one_that_gives_up_waiting_leaves_its_place() {
        let limiter = limiter(None, Some(1));
        let held = limiter.acquire("api").await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(1), limiter.acquire("api")).await;
        assert!(waiting.is_err());
        drop(held);
        assert!(limiter.acquire("api").await.is_ok());
    }
}
