//! The sites and events that the oracle knows.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::seeded::Seeded;

/// A value of the short list.
#[derive(Debug, Clone, Serialize)]
pub struct Site {
    /// Its number, from 1.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// `active`, `paused` or `closed`.
    pub status: String,
}

/// A row of the long list.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its number over all sites, from 1; never used twice.
    pub id: u64,
    /// Its site.
    pub site: u64,
    /// When it happened, to the second.
    pub at: Timestamp,
    /// Fields beside the usual ones; one of the same name takes the usual one's place.
    pub extra: Map<String, Value>,
}

impl Event {
    /// The row as the API spells it; the same for the same id.
    pub(crate) fn json(&self) -> Value {
        let mut random = Seeded::new(self.id);
        let note =
            if random.below(3) == 0 { Value::Null } else { json!(format!("note {}, \"quoted\"", self.id)) };
        let mut row = json!({
            "id": self.id,
            "site_id": self.site,
            "at": self.at.to_string(),
            "kind": random.pick(&["view", "click", "order"]),
            "amount": Value::from(f64::from(u32::try_from(random.below(100_000)).unwrap_or(0)) / 100.0),
            "device": { "os": random.pick(&["linux", "ios", "android"]), "version": 1 + random.below(20) },
            "tags": [random.pick(&["a", "b"]), "all"],
            "note": note,
        });
        if let Value::Object(fields) = &mut row {
            fields.extend(self.extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        row
    }
}

/// Everything the oracle knows of its subject.
#[derive(Debug, Default)]
pub(crate) struct Data {
    pub(crate) sites: Vec<Site>,
    pub(crate) events: Vec<Event>,
}

impl Data {
    pub(crate) fn add_site(&mut self, status: &str) -> u64 {
        let id = self.sites.len() as u64 + 1;
        self.sites.push(Site { id, name: format!("site {id}"), status: status.to_owned() });
        id
    }

    pub(crate) fn add_event(&mut self, site: u64, at: Timestamp, extra: Map<String, Value>) -> u64 {
        let id = self.events.len() as u64 + 1;
        self.events.push(Event { id, site, at, extra });
        id
    }

    /// Adds `count` events spread evenly over `[low, high)`.
    pub(crate) fn spread(&mut self, site: u64, low: Timestamp, high: Timestamp, count: u64) -> Vec<u64> {
        let (start, length) = (low.as_second(), high.as_second() - low.as_second());
        let steps = i64::try_from(count).unwrap_or(i64::MAX).max(1);
        let instants = (0..steps).map(|step| start + length * step / steps);
        instants
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .map(|second| self.add_event(site, Timestamp::from_second(second).unwrap_or(low), Map::new()))
            .collect()
    }

    /// The events of a site in `[low, high)`, in the order that the API gives them.
    pub(crate) fn events_of(&self, site: u64, interval: Option<(Timestamp, Timestamp)>) -> Vec<&Event> {
        let inside = |event: &&Event| {
            event.site == site && interval.is_none_or(|(low, high)| low <= event.at && event.at < high)
        };
        let mut events: Vec<&Event> = self.events.iter().filter(inside).collect();
        events.sort_by_key(|event| (event.at, event.id));
        events
    }
}
