//! The greatest key of a unit's rows, and leaving out rows that earlier runs have read.

use dil_model::arrow::array::{Array, AsArray as _, BooleanArray};
use dil_model::arrow::compute::filter_record_batch;
use dil_model::arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use dil_model::arrow::record_batch::RecordBatch;
use dil_model::unit::UnitSpec;
use dil_model::{Error, ErrorKind, KeyRange, Result};
use jiff::Timestamp;
use serde_json::Value;

/// A key as it is compared: whole numbers (and instants, in microseconds) by size, texts by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Text(String),
}

/// Watches the keys that go by.
#[derive(Debug)]
pub(crate) struct KeyWatch {
    field: String,
    after: Option<Value>,
    greatest: Option<Key>,
    /// Whether keys are instants, which are kept as texts.
    instants: bool,
}

impl KeyWatch {
    /// `None` if the unit's stage looks at no keys.
    pub(crate) fn new(spec: &UnitSpec) -> Option<Self> {
        let Some(KeyRange::Above { field, after }) = &spec.key else { return None };
        let earlier = spec.resume.as_ref().and_then(|position| position.greatest.clone());
        let mut watch = Self { field: field.clone(), after: after.clone(), greatest: None, instants: false };
        if let Some(Value::String(text)) = &earlier {
            watch.instants = text.parse::<Timestamp>().is_ok();
        }
        watch.greatest = earlier.as_ref().and_then(|value| watch.key(value));
        Some(watch)
    }

    /// The rows with greater keys than earlier runs have seen.
    ///
    /// # Errors
    /// `Content` if a key is null or missing, or of a type that has no order that a source would share.
    pub(crate) fn take(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some(column) = batch.column_by_name(&self.field) else {
            return Err(self.wrong("is missing in the rows", "name a column that every row has"));
        };
        if column.null_count() > 0 {
            return Err(
                self.wrong("is null in a row", "a row without a key would be read again in every run")
            );
        }
        let keys: Vec<Key> = match column.data_type() {
            DataType::Int32 => column
                .as_primitive::<Int32Type>()
                .values()
                .iter()
                .map(|key| Key::Number((*key).into()))
                .collect(),
            DataType::Int64 => {
                column.as_primitive::<Int64Type>().values().iter().map(|key| Key::Number(*key)).collect()
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.instants = true;
                column
                    .as_primitive::<TimestampMicrosecondType>()
                    .values()
                    .iter()
                    .map(|key| Key::Number(*key))
                    .collect()
            }
            DataType::Utf8 => {
                column.as_string::<i32>().iter().flatten().map(|key| Key::Text(key.to_owned())).collect()
            }
            other => {
                let what = format!("is of type {other}");
                return Err(self.wrong(&what, "take a column of whole numbers, texts or timestamps"));
            }
        };
        self.greatest = keys.iter().max().cloned().max(self.greatest.take());
        let Some(after) = self.after.as_ref().and_then(|after| self.key(after)) else { return Ok(batch) };
        let sorts =
            keys.first().is_none_or(|key| std::mem::discriminant(key) == std::mem::discriminant(&after));
        if !sorts {
            let known = self.after.clone().unwrap_or_default();
            return Err(self.wrong(
                &format!("has another type than before, when its greatest value was {known}"),
                "give the column one type under `read.columns`, or begin anew with `dil state reset`",
            ));
        }
        if keys.iter().all(|key| *key > after) {
            return Ok(batch);
        }
        let new: BooleanArray = keys.iter().map(|key| Some(*key > after)).collect();
        filter_record_batch(&batch, &new).map_err(|cause| {
            Error::new(ErrorKind::Internal, "internal/key", format!("rows cannot be filtered: {cause}"))
        })
    }

    /// The greatest key so far, as it is kept.
    pub(crate) fn greatest(&self) -> Option<Value> {
        Some(match self.greatest.as_ref()? {
            Key::Number(microseconds) if self.instants => {
                Timestamp::from_microsecond(*microseconds).ok()?.to_string().into()
            }
            Key::Number(number) => (*number).into(),
            Key::Text(text) => text.as_str().into(),
        })
    }

    fn key(&self, value: &Value) -> Option<Key> {
        match value {
            Value::Number(number) => number.as_i64().map(Key::Number),
            Value::String(text) if self.instants => {
                text.parse::<Timestamp>().ok().map(|at| Key::Number(at.as_microsecond()))
            }
            Value::String(text) => Some(Key::Text(text.clone())),
            _ => None,
        }
    }

    fn wrong(&self, what: &str, hint: &str) -> Error {
        let message = format!("the key `{}` {what}", self.field);
        Error::new(ErrorKind::Content, "unit/key", message).hint(hint)
    }
}
