//! The name of a unit in the ledger, for ever.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::key::Field;

/// Where a unit's interval or stretch of keys begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Low {
    Time(Timestamp),
    Key(i64),
}

/// The fields of a stage's values, spelt once, in the order in which they stand in names.
#[derive(Debug, Clone)]
pub(crate) struct Names(Vec<(String, usize)>);

impl Names {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a String>) -> Self {
        let mut names: Vec<(&String, usize)> =
            names.into_iter().enumerate().map(|(at, name)| (name, at)).collect();
        names.sort_unstable();
        Self(names.into_iter().map(|(name, at)| (spell_name(name), at)).collect())
    }

    /// Names the unit with these fields, which stand in the order of the names that were given, and of the interval that
    /// begins at `low`: `id=42,time=2024-01-01T00:00:00Z`.
    ///
    /// Fields stand in the order of their names, so neither the order in the flow file nor that of the upstream rows
    /// matters. The interval is named by its first instant only, so that a unit keeps its name while its end moves. A text is
    /// quoted as JSON where it could be taken for something else: different units never share a name. Of a long text the
    /// beginning and a digest stand there: `path="reports/2024/…"#0f3a…`. A unit without values and interval is `all`.
    pub(crate) fn signature(&self, fields: &[Field<'_>], low: Option<Low>) -> String {
        let mut text = String::with_capacity(64);
        for (name, at) in &self.0 {
            let Some(field) = fields.get(*at) else { continue };
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{name}=");
            spell(field, &mut text);
        }
        if let Some(low) = low {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = match low {
                Low::Time(low) => write!(text, "{comma}time={low}"),
                Low::Key(low) => write!(text, "{comma}key={low}"),
            };
        }
        if text.is_empty() { "all".to_owned() } else { text }
    }
}

/// Whether the unit of this name has such a value in a field; a number or bool is told by its text.
pub fn has_value(signature: &str, name: &str, value: &str) -> bool {
    let name = spell_name(name);
    let mut rest = signature;
    while let Some((key, behind)) = token(rest) {
        let Some((found, behind)) = behind.strip_prefix('=').and_then(token) else { return false };
        let (digest, behind) = behind.split_at(behind.find(',').unwrap_or(behind.len()));
        let same = match found.starts_with('"') {
            true if digest.is_empty() => {
                serde_json::from_str::<String>(found).is_ok_and(|found| found == value)
            }
            true => digest.strip_prefix('#') == Some(&digest_of(value)),
            false => found == value,
        };
        if key == name && same {
            return true;
        }
        rest = behind.strip_prefix(',').unwrap_or_default();
    }
    false
}

/// The plain or quoted text at the beginning, and what comes behind it.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = if text.starts_with('"') {
        let mut escaped = false;
        let closing = text.char_indices().skip(1).find(|(_, c)| {
            let closes = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            closes
        });
        closing?.0 + 1
    } else {
        text.find(['=', ',']).unwrap_or(text.len())
    };
    (end > 0).then(|| text.split_at(end))
}

/// The interval is `time`, a stretch of keys `key`; a field of that name is told apart by its quotes.
fn spell_name(name: &str) -> String {
    if is_plain(name) && !matches!(name, "time" | "key") {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

fn spell(field: &Field<'_>, into: &mut String) {
    match field {
        Field::Bool(value) => into.push_str(if *value { "true" } else { "false" }),
        Field::Number(text) => into.push_str(text),
        Field::Text(text) if text.len() <= LONG && is_plain(text) && !looks_typed(text) => {
            into.push_str(text)
        }
        Field::Text(text) if text.len() <= LONG => into.push_str(&Value::from(text.as_ref()).to_string()),
        Field::Text(text) => {
            let shown: String = text.chars().take(SHOWN).collect();
            let _ = write!(into, "{}#{}", Value::from(shown), digest_of(text));
        }
    }
}

/// A longer text, in bytes, is named by its beginning and a digest: databases have an upper bound for keys.
const LONG: usize = 200;

/// So many characters of a long text stand in the name.
const SHOWN: usize = 60;

/// The first 128 bits of a text's SHA-256, in hexadecimal.
fn digest_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-'))
}

/// Whether a bare text would read as a number, a bool or a null.
fn looks_typed(text: &str) -> bool {
    matches!(text, "true" | "false" | "null") || text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use dil_model::unit::EachRow;

    use super::*;
    use crate::key;

    fn signature(each: &EachRow, low: Option<Timestamp>) -> String {
        let mut bytes = Vec::new();
        each.values().for_each(|value| key::write(value, &mut bytes));
        Names::new(each.keys()).signature(&key::read(&bytes).collect::<Vec<_>>(), low.map(Low::Time))
    }

    fn check(each: Value, low: Option<&str>, expect: &str) {
        let each: EachRow = serde_json::from_value(each).unwrap();
        assert_eq!(signature(&each, low.map(|low| low.parse().unwrap())), expect);
    }

    #[test]
    fn a_long_text_is_named_by_its_beginning_and_a_digest() {
        let (long, other) = ("x".repeat(5000), "x".repeat(5001));
        let name = |text: &str| signature(&EachRow::from_iter([("path".to_owned(), json!(text))]), None);
        let begin = "x".repeat(60);
        // The digest is that of sha256sum.
        assert_eq!(name(&long), format!("path=\"{begin}\"#c59d3c0480cc2d71d8f646e735e92da6"));
        assert_ne!(name(&long), name(&other));
        assert!(has_value(&format!("{},time=2024-01-01T00:00:00Z", name(&long)), "path", &long));
        assert!(has_value(&format!("a=1,{},z=2", name(&long)), "z", "2"));
        assert!(!has_value(&name(&long), "path", &other));
        // What a text of that name would be called is quoted as a whole.
        assert_ne!(name(&name(&long)), name(&long));
    }

    #[test]
    fn stays_as_it_is_for_ever() {
        check(json!({}), None, "all");
        check(json!({}), Some("2024-01-01T00:00:00Z"), "time=2024-01-01T00:00:00Z");
        check(json!({ "id": 42 }), Some("2024-01-01T00:00:00Z"), "id=42,time=2024-01-01T00:00:00Z");
        check(json!({ "region": "eu", "id": -7 }), None, "id=-7,region=eu");
        check(json!({ "path": "a b/ü,=\".csv" }), None, r#"path="a b/ü,=\".csv""#);
        check(json!({ "v": "2024-01-01T00:00:00" }), None, "v=2024-01-01T00:00:00");
    }

    #[test]
    fn a_text_that_looks_like_another_value_is_quoted() {
        check(json!({ "id": "42" }), None, r#"id="42""#);
        check(json!({ "id": "007" }), None, r#"id="007""#);
        check(json!({ "id": "1e3" }), None, r#"id="1e3""#);
        check(json!({ "id": "true" }), None, r#"id="true""#);
        check(json!({ "id": true }), None, "id=true");
        check(json!({ "id": "" }), None, r#"id="""#);
    }

    #[test]
    fn a_field_named_time_is_not_the_interval() {
        check(json!({ "time": "2024-01-01T00:00:00Z" }), None, r#""time"=2024-01-01T00:00:00Z"#);
        check(json!({ "a=b": 1 }), None, r#""a=b"=1"#);
    }

    #[test]
    fn a_value_is_found_whatever_stands_around_it() {
        let each = json!({ "id": 42, "path": "a,id=43,\"x\"=1", "time": "t", "ok": true });
        let each: EachRow = serde_json::from_value(each).unwrap();
        let name = signature(&each, Some("2024-01-01T00:00:00Z".parse().unwrap()));
        for (field, value, expect) in [
            ("id", "42", true),
            ("id", "43", false),
            ("path", "a,id=43,\"x\"=1", true),
            ("time", "t", true),
            ("time", "2024-01-01T00:00:00Z", false),
            ("ok", "true", true),
            ("x", "1", false),
        ] {
            assert_eq!(has_value(&name, field, value), expect, "{field}={value} in {name}");
        }
        assert!(!has_value("all", "all", ""));
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            (-3_i64..3).prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            (-1e3..1e3_f64).prop_map(Value::from),
            "[a,=\"0-9:.e\\\\]{0,4}".prop_map(Value::from),
            prop::sample::select(vec!["true", "null", "all", "1", "-1", "time", "2024-01-01T00:00:00Z"])
                .prop_map(Value::from),
        ]
    }

    fn unit() -> impl Strategy<Value = (EachRow, Option<Timestamp>)> {
        let name = prop_oneof!["[a-c,=\"]{0,3}", Just("time".to_owned()), Just("all".to_owned())];
        let low = prop::option::of(
            (0_i64..3).prop_map(|day| Timestamp::from_second(1_704_067_200 + day * 86_400).unwrap()),
        );
        (prop::collection::vec((name, value()), 0..3).prop_map(|pairs| pairs.into_iter().collect()), low)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn two_units_share_a_name_only_if_they_are_equal(a in unit(), b in unit()) {
            prop_assert_eq!(signature(&a.0, a.1) == signature(&b.0, b.1), a == b);
        }
    }
}
