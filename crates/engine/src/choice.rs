//! Which part of a flow a user wants to run.

use std::collections::{BTreeMap, BTreeSet};

use dil_flow::Checked;
use dil_model::config::Units;
use dil_model::setting::Bound;
use dil_model::{Error, ErrorKind, Result};
use dil_plan::Selection;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The stages and units that were chosen; all of them, if nothing was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// By stage; a stage with an empty list was chosen as a whole.
    stages: BTreeMap<String, Vec<Selection>>,
    /// Only units whose last try failed, in every stage that was chosen.
    failed: bool,
}

impl Choice {
    /// Reads choices like `responses[id=42, time=2024-01-01..2024-02-01]` or `responses`. Values are told by their text,
    /// in double quotes if there is a comma in it; units whose interval holds the time, or shares an instant with the
    /// stretch, are meant.
    ///
    /// # Errors
    /// `Config` for a stage or field that the flow does not have, and for what is no time.
    pub fn parse(texts: &[String], failed: bool, flow: &Checked, now: Timestamp) -> Result<Self> {
        let mut stages: BTreeMap<String, Vec<Selection>> = BTreeMap::new();
        let mut whole = Vec::new();
        for text in texts {
            let (stage, selection) = one(text, flow, now)?;
            let chosen = stages.entry(stage.clone()).or_default();
            match selection {
                Some(selection) => chosen.push(selection),
                None => whole.push(stage),
            }
        }
        for stage in whole {
            stages.insert(stage, Vec::new());
        }
        Ok(Self { stages, failed })
    }

    /// These stages, each as a whole.
    pub(crate) fn whole<'a>(stages: impl IntoIterator<Item = &'a str>) -> Self {
        let stages = stages.into_iter().map(|stage| (stage.to_owned(), Vec::new())).collect();
        Self { stages, failed: false }
    }

    /// The stages that run: those that were chosen, and those whose rows they need.
    pub(crate) fn stages(&self, flow: &Checked) -> BTreeSet<String> {
        if self.stages.is_empty() {
            return flow.order().iter().cloned().collect();
        }
        let mut needed: BTreeSet<String> = self.stages.keys().cloned().collect();
        // Behind each stage come those that use its rows, so going backwards meets every need.
        for name in flow.order().iter().rev() {
            if needed.contains(name) {
                needed.extend(flow.upstreams(name).into_iter().map(str::to_owned));
            }
        }
        needed
    }

    /// What is chosen of a stage; nothing if all of it is.
    pub(crate) fn of(&self, stage: &str) -> Vec<Selection> {
        let chosen = self.stages.get(stage);
        let mut selections = chosen.cloned().unwrap_or_default();
        if self.failed && (self.stages.is_empty() || chosen.is_some()) {
            if selections.is_empty() {
                selections.push(Selection::default());
            }
            selections.iter_mut().for_each(|selection| selection.failed = true);
        }
        selections
    }

    /// What tells this choice from others; nothing if everything runs.
    pub(crate) fn fingerprint(&self) -> String {
        if *self == Self::default() { String::new() } else { format!("{self:?}") }
    }
}

fn one(text: &str, flow: &Checked, now: Timestamp) -> Result<(String, Option<Selection>)> {
    let (stage, conditions) = match text.split_once('[') {
        None => (text.trim(), None),
        Some((stage, rest)) => {
            let inside = rest.trim_end().strip_suffix(']');
            (stage.trim(), Some(inside.ok_or_else(|| wrong(text, "has no `]` at its end"))?))
        }
    };
    let Some(found) = flow.flow.stages.get(stage) else {
        let known: Vec<&str> = flow.flow.stages.keys().map(String::as_str).collect();
        return Err(Error::new(ErrorKind::Config, "run/no-stage", format!("there is no stage `{stage}`"))
            .hint(format!("the stages are {}", known.join(", "))));
    };
    let Some(conditions) = conditions else { return Ok((stage.to_owned(), None)) };
    let units = found.units.as_ref();
    let time = units.and_then(|units| units.time.as_ref());
    let fields: Vec<&str> = units.into_iter().flat_map(Units::lists).flat_map(|each| each.names()).collect();
    let mut selection = Selection::default();
    for part in parts(conditions) {
        let (name, value) =
            part.split_once('=').ok_or_else(|| wrong(text, "has a part that is not NAME=VALUE"))?;
        let (name, value) = (name.trim(), unquoted(value.trim()));
        if fields.contains(&name) {
            selection.values.push((name.to_owned(), value));
        } else if let (Some(time), "time") = (time, name) {
            let zone = TimeZone::get(&time.timezone).unwrap_or(TimeZone::UTC);
            selection.time = Some(stretch(&value, now, &zone).ok_or_else(|| {
                wrong(text, "has a `time` that is none: a date, a date and time, or two with `..` between")
            })?);
        } else {
            return Err(no_field(stage, name, fields.into_iter().chain(time.map(|_| "time")).collect()));
        }
    }
    Ok((stage.to_owned(), Some(selection)))
}

fn no_field(stage: &str, name: &str, known: Vec<&str>) -> Error {
    let message = format!("the units of stage `{stage}` have no `{name}`");
    let hint = if known.is_empty() {
        "the stage is one unit; choose it by its name alone".to_owned()
    } else {
        format!("they have {}", known.join(", "))
    };
    Error::new(ErrorKind::Config, "run/no-field", message).hint(hint)
}

fn stretch(text: &str, now: Timestamp, zone: &TimeZone) -> Option<dil_model::Interval> {
    let at = |text: &str| Bound::parse(text.trim())?.resolve(now, zone);
    match text.split_once("..") {
        Some((low, high)) => Selection::stretch(at(low)?, Some(at(high)?)),
        None => Selection::stretch(at(text)?, None),
    }
}

fn wrong(text: &str, what: &str) -> Error {
    Error::new(ErrorKind::Config, "run/only", format!("`{text}` {what}"))
        .hint("write it as STAGE or 'STAGE[id=42, time=2024-01-01]'")
}

/// What stands between commas outside of double quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let split = text.split(|c: char| {
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        c == ',' && !quoted
    });
    split.filter(|part| !part.trim().is_empty()).collect()
}

fn unquoted(text: &str) -> String {
    serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use dil_flow::{Settings, Source, load};
    use serde_json::json;

    use super::*;

    fn flow() -> Checked {
        let text = "
flow: f
stages:
  ids: { read: { files: { path: a.csv }, format: csv } }
  rows:
    units: { each: { rows_of: ids, fields: [id] }, time: { from: 2024-01-01, every: day } }
    read: { files: { path: 'b{{ id }}.csv' }, format: csv }
    write: { files: { path: out, format: csv } }
  other: { read: { files: { path: a.csv }, format: csv }, write: { files: { path: o, format: csv } } }
";
        load(&Source { name: "flow.yaml".into(), text: text.into() }, &Settings::default()).unwrap()
    }

    fn parse(text: &str) -> Result<Choice> {
        Choice::parse(&[text.to_owned()], false, &flow(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_stage_brings_those_along_whose_rows_it_needs() {
        let stages = |text: &str| parse(text).unwrap().stages(&flow()).into_iter().collect::<Vec<_>>();
        assert_eq!(stages("rows"), ["ids", "rows"]);
        assert_eq!(stages("other"), ["other"]);
        assert_eq!(Choice::default().stages(&flow()).len(), 3);
    }

    #[test]
    fn values_and_times_are_read() {
        let choice = parse(r#"rows[id="a, b=\"c\"", time=2024-01-05..2024-01-07]"#).unwrap();
        let [selection] = &choice.of("rows")[..] else { panic!("{choice:?}") };
        assert_eq!(json!(selection.values), json!([["id", "a, b=\"c\""]]));
        assert_eq!(selection.time.unwrap().to_string(), "[2024-01-05T00:00:00Z, 2024-01-07T00:00:00Z)");
        assert!(choice.of("ids").is_empty());
    }

    #[test]
    fn what_the_flow_does_not_have_is_told() {
        for (text, message, hint) in [
            ("row", "there is no stage `row`", "the stages are ids, rows, other"),
            ("rows[name=1]", "the units of stage `rows` have no `name`", "they have id, time"),
            ("other[time=2024-01-01]", "the units of stage `other` have no `time`", "the stage is one unit"),
            ("rows[id=1", "`rows[id=1` has no `]` at its end", "write it as STAGE"),
            ("rows[id]", "`rows[id]` has a part that is not NAME=VALUE", "write it as STAGE"),
            ("rows[time=soon]", "`rows[time=soon]` has a `time` that is none", "write it as STAGE"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.starts_with(message), "{error}");
            assert!(error.hint.unwrap_or_default().starts_with(hint), "{text}");
        }
    }

    #[test]
    fn failed_ones_are_chosen_in_every_stage_or_in_those_named() {
        let all = Choice::parse(&[], true, &flow(), Timestamp::UNIX_EPOCH).unwrap();
        assert!(all.of("rows")[0].failed && all.of("ids")[0].failed);
        let some = Choice::parse(&["rows".into()], true, &flow(), Timestamp::UNIX_EPOCH).unwrap();
        assert!(some.of("rows")[0].failed && some.of("ids").is_empty());
    }
}
