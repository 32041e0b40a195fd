//! Counts what a stage has done so far.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use dil_model::unit::Counts;

/// How far back speed is measured: long enough to be steady, short enough to show a stall.
const SPEED_SPAN: Duration = Duration::from_secs(5);

/// How often a sample of the speed is taken.
const SPEED_SAMPLE: Duration = Duration::from_millis(250);

/// What a stage has done so far.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) units: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    unit_retries: u64,
    ended: Counts,
    running: HashMap<String, Counts>,
    started: Instant,
    samples: VecDeque<(Instant, u64)>,
}

/// What can be read off a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) retries: u64,
    /// Bytes in the time beside it, lately.
    pub(crate) lately: (u64, Duration),
    /// How long the rest will take at the pace so far.
    pub(crate) left: Option<Duration>,
}

impl Meter {
    pub(crate) fn new(units: u64, now: Instant) -> Self {
        Self {
            units,
            done: 0,
            failed: 0,
            unit_retries: 0,
            ended: Counts::default(),
            running: HashMap::new(),
            started: now,
            samples: VecDeque::from([(now, 0)]),
        }
    }

    /// A unit stands here.
    pub(crate) fn at(&mut self, unit: &str, counts: Counts) {
        match self.running.get_mut(unit) {
            Some(known) => *known = counts,
            None => drop(self.running.insert(unit.to_owned(), counts)),
        }
    }

    /// A unit is tried again: what its last try read does not count, that it was repeated does.
    pub(crate) fn retried(&mut self, unit: &str) {
        self.unit_retries += 1;
        let known = self.running.remove(unit).unwrap_or_default();
        self.ended.requests.retries += known.requests.retries;
    }

    /// A unit is done.
    pub(crate) fn done(&mut self, unit: &str, counts: Counts) {
        self.running.remove(unit);
        self.done += 1;
        add(&mut self.ended, counts);
    }

    /// A unit failed; its rows do not count.
    pub(crate) fn failed(&mut self, unit: &str) {
        self.failed += 1;
        let known = self.running.remove(unit).unwrap_or_default();
        self.ended.requests.retries += known.requests.retries;
    }

    /// What it shows now.
    pub(crate) fn read(&mut self, now: Instant) -> Reading {
        let mut sum = self.ended;
        for counts in self.running.values() {
            add(&mut sum, *counts);
        }
        let ended = self.done + self.failed;
        let left = (ended > 0 && ended < self.units).then(|| {
            let pace = now.duration_since(self.started).as_secs_f64() / approximate(ended);
            Duration::from_secs_f64(pace * approximate(self.units - ended))
        });
        Reading {
            rows: sum.rows,
            bytes: sum.bytes,
            retries: self.unit_retries + sum.requests.retries,
            lately: self.lately(now, sum.bytes),
            left,
        }
    }

    fn lately(&mut self, now: Instant, bytes: u64) -> (u64, Duration) {
        if self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SPEED_SAMPLE) {
            self.samples.push_back((now, bytes));
        }
        while self.samples.len() > 2
            && self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > SPEED_SPAN)
        {
            self.samples.pop_front();
        }
        match self.samples.front() {
            Some((at, before)) => (bytes.saturating_sub(*before), now.duration_since(*at)),
            None => (0, Duration::ZERO),
        }
    }
}

fn add(sum: &mut Counts, counts: Counts) {
    sum.rows += counts.rows;
    sum.bytes += counts.bytes;
    sum.pages += counts.pages;
    sum.requests.sent += counts.requests.sent;
    sum.requests.retries += counts.requests.retries;
}

#[expect(clippy::cast_precision_loss, reason = "a guess at the time left")]
fn approximate(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: u64) -> Counts {
        Counts { rows, bytes: rows * 10, ..Counts::default() }
    }

    #[test]
    fn a_unit_counts_once_however_often_it_tells() {
        let start = Instant::now();
        let mut meter = Meter::new(4, start);
        meter.at("a", rows(10));
        meter.at("a", rows(30));
        meter.at("b", rows(5));
        assert_eq!(meter.read(start).rows, 35);
        meter.done("a", rows(40));
        assert_eq!(meter.read(start).rows, 45);
        meter.failed("b");
        let reading = meter.read(start + Duration::from_secs(10));
        assert_eq!((reading.rows, reading.left), (40, Some(Duration::from_secs(10))));
    }

    #[test]
    fn speed_is_that_of_late() {
        let start = Instant::now();
        let mut meter = Meter::new(1, start);
        for second in 1..=60 {
            meter.at("a", rows(if second <= 50 { second * 1_000 } else { 50_000 }));
            meter.read(start + Duration::from_secs(second));
        }
        assert_eq!(meter.read(start + Duration::from_secs(60)).lately.0, 0, "it stalled ten seconds ago");
    }
}
