//! The values that divide a stage: distinct rows of other stages or literals, and their combinations.
//!
//! A stage may have millions of values, so they are kept as bytes in one arena, not as maps: order-preserving keys that
//! can be told apart, sorted and read back.

use std::borrow::Cow;
use std::collections::BTreeSet;

use dil_model::config::{Each, Units};
use dil_model::setting::Pattern;
use dil_model::unit::EachRow;
use dil_model::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::key::{self, Field};
use crate::signature::{Low, Names};

/// Rows that are collected for one list of values, or for the backlog.
#[derive(Debug, Clone)]
pub struct ValueList {
    names: Vec<String>,
    version: Vec<String>,
    filter: Vec<(String, Pattern)>,
    /// The stage that the rows come from, for messages.
    origin: String,
    /// Fields that are needed and were not seen with a value yet.
    unseen: BTreeSet<String>,
    /// Fields of the first row that lacked one.
    known: Vec<String>,
    rows: u64,
    generation: u32,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// Entries up to here are sorted and distinct.
    settled: usize,
}

/// Where one value is in the arena: its key, and behind it its version.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    key: u32,
    version: u32,
    generation: u32,
}

/// Unsettled entries before duplicates are taken out on the way: many rows of few values must not fill the memory.
const SETTLE_AFTER: usize = 65_536;

impl ValueList {
    /// The list that `each` describes; a literal one is full already, one of a stage's rows is filled by
    /// [`ValueList::push`].
    pub fn new(each: &Each) -> Self {
        let mut list = Self::empty(each.names().into_iter().map(str::to_owned).collect());
        list.version.clone_from(&each.version);
        list.filter = each.filter.iter().map(|(name, pattern)| (name.clone(), pattern.clone())).collect();
        list.origin = each.rows_of.clone().unwrap_or_default();
        if each.rows_of.is_some() {
            list.unseen = each.columns().into_iter().collect();
        } else {
            for value in &each.values {
                list.add(&[Value::from(value.0.as_str())], &[]);
            }
        }
        list
    }

    /// The list of values that earlier runs planned and that are not done: rows with every name of the stage.
    pub fn backlog(units: Option<&Units>) -> Self {
        let lists = units.into_iter().flat_map(Units::lists);
        Self::empty(lists.flat_map(|each| each.names().into_iter().map(str::to_owned)).collect())
    }

    fn empty(names: Vec<String>) -> Self {
        Self {
            names,
            version: Vec::new(),
            filter: Vec::new(),
            origin: String::new(),
            unseen: BTreeSet::new(),
            known: Vec::new(),
            rows: 0,
            generation: 0,
            arena: Vec::new(),
            entries: Vec::new(),
            settled: 0,
        }
    }

    /// The rows that follow are newer than those before: of two versions of a value theirs counts.
    pub fn next_generation(&mut self) {
        self.generation += 1;
    }

    /// Takes a row, unless `where` leaves it out. Of equal ones, one is kept.
    ///
    /// # Errors
    /// `Content` if a field is null or no scalar.
    pub fn push(&mut self, row: &EachRow) -> Result<()> {
        self.rows += 1;
        self.look_for_fields(row);
        let passes = |(field, pattern): &(String, Pattern)| {
            row.get(field).is_some_and(|value| matches(value, pattern))
        };
        if !self.filter.iter().all(passes) {
            return Ok(());
        }
        // Where a field is missing everywhere, that is told instead, at the end.
        if self.names.iter().any(|name| self.unseen.contains(name)) {
            return Ok(());
        }
        let values =
            self.names.iter().map(|name| scalar(row, name, &self.origin)).collect::<Result<Vec<_>>>()?;
        let version: Vec<Value> =
            self.version.iter().map(|name| row.get(name).cloned().unwrap_or(Value::Null)).collect();
        self.add(&values, &version);
        if self.entries.len() - self.settled > SETTLE_AFTER.max(self.settled) {
            self.settle();
        }
        Ok(())
    }

    fn look_for_fields(&mut self, row: &EachRow) {
        if self.unseen.is_empty() {
            return;
        }
        self.unseen.retain(|name| !row.contains_key(name));
        if !self.unseen.is_empty() && self.known.is_empty() {
            self.known = row.keys().cloned().collect();
        }
    }

    fn add(&mut self, values: &[Value], version: &[Value]) {
        let start = self.arena.len();
        values.iter().for_each(|value| key::write(value, &mut self.arena));
        let key = self.arena.len() - start;
        if !version.is_empty() {
            let pairs = self.version.iter().zip(version).map(|(name, value)| format!("{name}={value}"));
            self.arena.extend_from_slice(pairs.collect::<Vec<_>>().join(",").as_bytes());
        }
        let version = self.arena.len() - start - key;
        let short = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let generation = self.generation;
        self.entries.push(Entry { start, key: short(key), version: short(version), generation });
    }

    /// Sorts, and keeps one entry of each value: of the newest generation, and there of the greatest version.
    fn settle(&mut self) {
        let arena = &self.arena;
        let parts = |entry: &Entry| {
            let (key, version) = (entry.start + entry.key as usize, entry.version as usize);
            (
                arena.get(entry.start..key).unwrap_or_default(),
                arena.get(key..key + version).unwrap_or_default(),
            )
        };
        self.entries.sort_unstable_by(|a, b| {
            let ((a_key, a_version), (b_key, b_version)) = (parts(a), parts(b));
            let newer = || b.generation.cmp(&a.generation);
            a_key.cmp(b_key).then_with(newer).then_with(|| b_version.cmp(a_version))
        });
        self.entries.dedup_by(|later, kept| parts(later).0 == parts(kept).0);
        let kept: usize = self.entries.iter().map(|entry| (entry.key + entry.version) as usize).sum();
        if kept < self.arena.len() / 2 {
            let mut arena = Vec::with_capacity(kept);
            for entry in &mut self.entries {
                let end = entry.start + (entry.key + entry.version) as usize;
                let start = arena.len();
                arena.extend_from_slice(self.arena.get(entry.start..end).unwrap_or_default());
                entry.start = start;
            }
            self.arena = arena;
        }
        self.settled = self.entries.len();
    }

    /// # Errors
    /// `Config` if rows came and a needed field never had a value.
    fn finish(&mut self) -> Result<()> {
        if let Some(field) = self.unseen.first()
            && self.rows > 0
        {
            let stage = &self.origin;
            let message = format!("the rows of stage `{stage}` have no field `{field}` with a value");
            let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
            let hint = if known.is_empty() {
                format!("`dil preview FLOW {stage}` shows the fields that they have")
            } else {
                format!("they have {}", known.join(", "))
            };
            return Err(Error::new(ErrorKind::Config, "plan/no-field", message).hint(hint));
        }
        self.settle();
        self.arena.shrink_to_fit();
        self.entries.shrink_to_fit();
        Ok(())
    }

    fn key(&self, number: usize) -> &[u8] {
        let entry = self.entries.get(number);
        entry
            .and_then(|entry| self.arena.get(entry.start..entry.start + entry.key as usize))
            .unwrap_or_default()
    }

    fn version(&self, number: usize) -> Option<&str> {
        let entry = self.entries.get(number)?;
        let start = entry.start + entry.key as usize;
        let version = self.arena.get(start..start + entry.version as usize)?;
        std::str::from_utf8(version).ok().filter(|_| !self.version.is_empty())
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        let compare = |entry: &Entry| {
            let end = entry.start + entry.key as usize;
            self.arena.get(entry.start..end).unwrap_or_default().cmp(key)
        };
        self.entries.binary_search_by(compare).ok()
    }
}

/// All values of a stage: each combination of its lists, and behind them those that only the backlog knows.
#[derive(Debug, Clone)]
pub struct Values {
    lists: Vec<ValueList>,
    backlog: ValueList,
    listed: usize,
    names: Names,
}

impl Values {
    /// Puts the lists together, which stand in the order of the flow file.
    ///
    /// # Errors
    /// `Config` if a field that is needed is in no row.
    pub fn new(mut lists: Vec<ValueList>, mut backlog: ValueList) -> Result<Self> {
        lists.iter_mut().try_for_each(ValueList::finish)?;
        backlog.finish()?;
        let listed = lists.iter().map(|list| list.entries.len()).fold(1, usize::saturating_mul);
        let names = Names::new(lists.iter().flat_map(|list| &list.names));
        let mut values = Self { lists, backlog, listed, names };
        values.forget_listed();
        Ok(values)
    }

    /// Of a stage whose lists need no rows of another one, and that has no backlog.
    ///
    /// # Errors
    /// As [`Values::new`].
    pub fn literal(units: Option<&Units>) -> Result<Self> {
        let lists = units.into_iter().flat_map(Units::lists).map(ValueList::new).collect();
        Self::new(lists, ValueList::backlog(units))
    }

    /// Takes out of the backlog what is listed.
    fn forget_listed(&mut self) {
        let mut entries = std::mem::take(&mut self.backlog.entries);
        entries.retain(|entry| {
            let mut rest =
                self.backlog.arena.get(entry.start..entry.start + entry.key as usize).unwrap_or_default();
            !self.lists.iter().all(|list| {
                let (own, behind) = rest.split_at(key::length(rest, list.names.len()));
                rest = behind;
                list.position(own).is_some()
            })
        });
        self.backlog.entries = entries;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.listed.saturating_add(self.backlog.entries.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the value is among the lists, not only in the backlog.
    pub(crate) fn is_listed(&self, number: usize) -> bool {
        number < self.listed
    }

    /// Which entry of each list the combination is made of; the last list changes fastest.
    fn combination(&self, number: usize) -> impl Iterator<Item = (&ValueList, usize)> {
        let mut rest = number;
        let mut size = self.listed;
        self.lists.iter().map(move |list| {
            size /= list.entries.len().max(1);
            let at = rest / size.max(1);
            rest %= size.max(1);
            (list, at)
        })
    }

    fn fields(&self, number: usize) -> Vec<Field<'_>> {
        match number.checked_sub(self.listed) {
            Some(behind) => key::read(self.backlog.key(behind)).collect(),
            None => self.combination(number).flat_map(|(list, at)| key::read(list.key(at))).collect(),
        }
    }

    /// The name of the unit of this value and interval.
    pub(crate) fn signature(&self, number: usize, low: Option<Low>) -> String {
        self.names.signature(&self.fields(number), low)
    }

    /// The value's fields.
    pub(crate) fn row(&self, number: usize) -> EachRow {
        let names = self.lists.iter().flat_map(|list| &list.names);
        names.cloned().zip(self.fields(number).into_iter().map(Field::into_value)).collect()
    }

    /// One field of the value, as text.
    pub(crate) fn text(&self, number: usize, name: &str) -> Option<Cow<'_, str>> {
        let at = self.lists.iter().flat_map(|list| &list.names).position(|known| known == name)?;
        self.fields(number).into_iter().nth(at).map(Field::into_text)
    }

    /// What tells this version of the value from others, if the lists have versions.
    pub(crate) fn version(&self, number: usize) -> Option<String> {
        if number >= self.listed {
            return None;
        }
        let parts: Vec<&str> = self.combination(number).filter_map(|(list, at)| list.version(at)).collect();
        (!parts.is_empty()).then(|| parts.join(","))
    }
}

fn scalar(row: &EachRow, field: &str, stage: &str) -> Result<Value> {
    let value = row.get(field).unwrap_or(&Value::Null);
    let trouble = match value {
        Value::Null => "is null",
        Value::Array(_) => "is a list",
        Value::Object(_) => "is an object",
        _ => return Ok(value.clone()),
    };
    let message = format!("field `{field}` {trouble} in a row of stage `{stage}`, so it cannot name a unit");
    let hint = match value {
        Value::Null => {
            format!("leave such rows out with `where: {{ {field}: \".+\" }}`, or take other fields")
        }
        _ => "units are made of texts, numbers and bools; take a field inside of it in the stage before"
            .to_owned(),
    };
    Err(Error::new(ErrorKind::Content, "plan/no-value", message).hint(hint))
}

fn matches(value: &Value, pattern: &Pattern) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => pattern.matches(text),
        other => pattern.matches(&other.to_string()),
    }
}

#[cfg(test)]
mod tests;
