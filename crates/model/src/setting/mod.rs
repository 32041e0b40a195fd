//! Values that settings are made of: they carry their unit in their spelling.

mod bound;
mod column_type;
mod duration;
mod every;
mod instant;
mod pattern;
mod rate;
mod size;

pub use bound::Bound;
pub use column_type::ColumnType;
pub use duration::{CalendarSpan, HumanDuration, Waits};
pub use every::{Every, Step};
pub use instant::Instant;
pub use pattern::Pattern;
pub use rate::Rate;
pub use size::ByteSize;

/// Implements serde and JSON Schema for a value that is spelt as one text.
macro_rules! spelt {
    ($type:ty, $name:literal, $description:literal, $pattern:literal, $examples:expr) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $description,
                    "pattern": $pattern,
                    "examples": $examples,
                })
            }
        }
    };
}
pub(crate) use spelt;
