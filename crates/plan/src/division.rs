//! How a stage is divided, in words that are kept with its history.

use dil_model::Result;
use dil_model::config::{Every, Units};
use jiff::Timestamp;

use crate::range::Range;

/// Names what the units' signatures are made of: as long as it is the same, a unit keeps its name, whatever else changes.
///
/// Of `from` only what sets the boundaries' place counts, so that a range may begin earlier or later by whole steps.
///
/// # Errors
/// `Config` if `from` is no instant or the zone does not exist.
pub fn division(units: Option<&Units>) -> Result<String> {
    let mut parts = Vec::new();
    if let Some(each) = units.and_then(|units| units.each.as_ref()) {
        let names =
            if each.fields.is_empty() { each.name.iter().cloned().collect() } else { each.fields.clone() };
        parts.push(format!("`{}`", names.join("`, `")));
    }
    if let Some(time) = units.and_then(|units| units.time.as_ref()) {
        let range = Range::read(time, Timestamp::MAX)?;
        let from = range.from.to_zoned(range.zone);
        let (clock, zone) = (from.strftime("%H:%M:%S%.f"), &time.timezone);
        parts.push(match time.every {
            Every::None => format!("the time from {}", range.from),
            Every::Day => format!("days from {clock} {zone}"),
            Every::Month => format!("months from day {} {clock} {zone}", from.day()),
        });
    }
    Ok(if parts.is_empty() { "nothing".to_owned() } else { parts.join(" and ") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(units: serde_json::Value) -> String {
        division(Some(&serde_json::from_value(units).unwrap())).unwrap()
    }

    #[test]
    fn whole_steps_do_not_matter_and_all_else_does() {
        let time = |from: &str, every: &str| named(json!({ "time": { "from": from, "every": every } }));
        assert_eq!(time("2024-01-01", "month"), time("2021-05-01", "month"));
        assert_eq!(time("2024-01-01", "day"), time("2021-05-17", "day"));
        assert_ne!(time("2024-01-01", "month"), time("2024-01-15", "month"));
        assert_ne!(time("2024-01-01", "month"), time("2024-01-01", "day"));
        assert_ne!(time("2024-01-01", "none"), time("2024-02-01", "none"));
        let zoned = json!({ "time": { "from": "2024-01-01", "every": "day", "timezone": "Europe/Vienna" } });
        assert_ne!(time("2024-01-01", "day"), named(zoned));
    }

    #[test]
    fn says_what_the_values_are() {
        assert_eq!(named(json!({ "each": { "rows_of": "s", "fields": ["id", "kind"] } })), "`id`, `kind`");
        assert_eq!(named(json!({ "each": { "values": ["a"], "as": "x" } })), "`x`");
        assert_eq!(division(None).unwrap(), "nothing");
    }
}
