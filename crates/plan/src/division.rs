//! How a stage is divided, in words that are kept with its history.

use dil_model::Result;
use dil_model::config::Units;
use dil_model::setting::Every;
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
    for each in units.into_iter().flat_map(Units::lists) {
        parts.push(format!("`{}`", each.names().join("`, `")));
    }
    if let Some(time) = units.and_then(|units| units.time.as_ref()) {
        // Any instant that counts as now will do: where `from` moves, only how it moves counts.
        let range = Range::read(time, Timestamp::UNIX_EPOCH)?;
        let zone = &time.timezone;
        let mut schemes = std::iter::once(time.every).chain(time.then.iter().map(|then| then.every));
        parts.push(match (range.moving, schemes.next()) {
            (true, Some(Every::None)) => "a window that moves".to_owned(),
            (true, Some(Every::Step(step))) => format!("{step}s in {zone}"),
            (false, _) => steps(time.every, range.from, &range, zone),
            (true, None) => String::new(),
        });
        for ((at, _), every) in range.schemes.iter().skip(1).zip(schemes) {
            parts.push(format!("from {at} on {}", steps(every, *at, &range, zone)));
        }
    }
    if let Some(key) = units.and_then(|units| units.key.as_ref()) {
        parts.push(match (&key.field, key.every) {
            (Some(field), _) => format!("what is new by `{field}`"),
            (None, Some(every)) => format!("keys by {every} from {}", key.from.rem_euclid(every.max(1))),
            (None, None) => "keys".to_owned(),
        });
    }
    Ok(if parts.is_empty() { "nothing".to_owned() } else { parts.join(" and ") })
}

/// The steps of a range, with of their beginning only what sets the boundaries' place.
fn steps(every: Every, from: Timestamp, range: &Range, zone: &str) -> String {
    let Every::Step(step) = every else { return format!("the time from {from}") };
    let local = from.to_zoned(range.zone.clone());
    let clock = local.strftime("%H:%M:%S%.f");
    match (step.months, step.days, step.is_exact()) {
        (1, 0, _) if step.time.is_zero() => format!("months from day {} {clock} {zone}", local.day()),
        (0, 1, _) if step.time.is_zero() => format!("days from {clock} {zone}"),
        (0, 7, _) if step.time.is_zero() => format!("weeks from {} {clock} {zone}", local.strftime("%A")),
        (0, 0, true) => {
            let phase = from.as_nanosecond().rem_euclid(step.time.as_nanos().max(1));
            format!("{step}s, {phase} ns after the full")
        }
        _ => format!("{step}s from {from} {zone}"),
    }
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
