//! Work on many items, on as many threads as there are states to work with.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

/// Threads that encode for one file. Two keep up with the one that decodes; more would only take memory.
const LANES_MAX: usize = 2;

/// How many threads encoding is worth on this machine.
pub(super) fn lanes() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(LANES_MAX)
}

/// Does `work` on every item; gives the results in the order of the items. Each state has a thread, the first one ours, and
/// takes the next item that nobody has. Without states nothing is done.
pub(super) fn each<S: Send, T: Send, R: Send>(
    states: &mut [S],
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(&mut S, T) -> R + Sync,
) -> Vec<R> {
    let waiting = Mutex::new(items.enumerate());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = |state: &mut S| {
        let mut done = Vec::new();
        while let Some((place, item)) = next() {
            done.push((place, work(state, item)));
        }
        done
    };
    let Some((ours, others)) = states.split_first_mut() else { return Vec::new() };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = others.iter_mut().map(|state| scope.spawn(|| run(state))).collect();
        let mut done = run(ours);
        for other in others {
            // A panic goes on here.
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let mut states = [0u64; 3];
        let results = each(&mut states, 0..10_000u64, |worked, item| {
            *worked += 1;
            item * 2
        });
        assert_eq!(results, (0..10_000).map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(states.iter().sum::<u64>(), 10_000);
    }
}
