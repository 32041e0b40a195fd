//! The value types that are spelt as one text, by the name that their schema has.

use dil_model::setting::{ByteSize, CalendarSpan, ColumnType, Every, HumanDuration, Pattern, Rate, Waits};

type Parse = fn(&str) -> Result<(), String>;

const SPELT: [(&str, Parse); 8] = [
    ("ByteSize", |text| ByteSize::parse(text).map(drop)),
    ("CalendarSpan", |text| CalendarSpan::parse(text).map(drop)),
    ("ColumnType", |text| ColumnType::parse(text).map(drop)),
    ("Duration", |text| HumanDuration::parse(text).map(drop)),
    ("Every", |text| Every::parse(text).map(drop)),
    ("Pattern", |text| Pattern::parse(text).map(drop)),
    ("Rate", |text| Rate::parse(text).map(drop)),
    ("Waits", |text| Waits::parse(text).map(drop)),
];

/// Checks a text against the spelling of a type.
///
/// # Errors
/// What is wrong with it: a message and, where the type has one, a hint.
pub(crate) fn check(type_name: &str, text: &str) -> Result<(), (String, Option<String>)> {
    let Some((_, parse)) = SPELT.iter().find(|(name, _)| *name == type_name) else { return Ok(()) };
    parse(text).map_err(|message| match message.split_once("; ") {
        Some((what, advice)) => (what.to_owned(), Some(advice.to_owned())),
        None => (message, None),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{SPELT, check};
    use crate::schema::SCHEMA;

    #[test]
    fn every_spelt_type_of_the_model_is_here() {
        let definitions = SCHEMA.root()["$defs"].as_object().cloned().unwrap_or_default();
        let mut spelt: Vec<String> = definitions
            .into_iter()
            .filter(|(_, d)| d.get("pattern").is_some())
            .map(|(name, _)| name)
            .collect();
        spelt.sort();
        assert_eq!(spelt, SPELT.map(|(name, _)| name.to_owned()));
    }

    #[test]
    fn the_examples_of_the_schema_are_spelt_right() {
        for (name, _) in SPELT {
            let examples = SCHEMA.root()["$defs"][name]["examples"].as_array().cloned().unwrap_or_default();
            assert!(!examples.is_empty(), "{name}");
            for example in examples.iter().filter_map(Value::as_str) {
                assert_eq!(check(name, example), Ok(()), "{name}");
            }
        }
    }
}
